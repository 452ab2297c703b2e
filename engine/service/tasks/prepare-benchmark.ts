import path from 'node:path';
import { toErrorPayload } from '../../contract/error-payload.ts';
import { DBellError } from '../../contract/errors.ts';
import type { SentStage } from '../../contract/jobs.ts';
import type { PeerRequest } from '../../contract/measurement.ts';
import { requireLlamaCpp } from '../../measure/peers/llama-cpp-library.ts';
import { onnxruntimeTypes } from '../../measure/peers/onnxruntime-graph.ts';
import type { Architecture } from '../../model/architecture.ts';
import { type ModelShape, modelShapes } from '../../model/model-shapes.ts';
import { exportGguf } from '../../package/export-gguf.ts';
import { openPackage } from '../../package/open.ts';
import { shapeParameters } from '../../package/synthetic/synthetic-config.ts';
import {
  type SyntheticGgufType,
  shapeForType,
  syntheticGgufTypes,
  unreadEmbeddingBytes,
  writeSyntheticGguf,
} from '../../package/synthetic/synthetic-gguf.ts';
import { writeSyntheticPackage } from '../../package/synthetic/synthetic-package.ts';
import type { PackageSource } from '../../package/types.ts';
import type { PreparedPeer, TaskResult } from '../work-protocol.ts';
import type { TaskControl, TaskFunction } from './control.ts';
import { isPackage } from './package-detection.ts';

/** llama.cpp's type for planes of so many bits, where a package cannot be exported and for shapes; two bits are compared with its ternary type. */
const typeOfLevels = (levels: number): SyntheticGgufType =>
  levels === 2 ? 'Q1_0' : levels <= 4 ? 'TQ2_0' : levels <= 16 ? 'Q4_0' : 'Q8_0';

/** Writes what is to be measured: the package of a shape, and the files of peers. Wrong requests are refused before anything is written. */
export const prepareBenchmarkTask: TaskFunction<'prepareBenchmark'> = async (
  { folder, subject, peers },
  control,
) => {
  for (const peer of peers) checkRequest(peer);
  if ('synthetic' in subject) {
    const shape = findShape(subject.synthetic.shape);
    const model = path.join(folder, 'package');
    tell(control, 'write random weights', shape.name);
    const { levels, tables } = subject.synthetic;
    await writeSyntheticPackage(model, shape, { levels, tables }, () => control.border());
    const type = typeOfLevels(levels);
    return {
      model,
      peers: await all(peers, (peer) => prepareRandom(folder, peer, shape, type, '', control)),
    };
  }
  if (!isPackage(subject.model))
    throw new DBellError(
      'invalid-input',
      `${subject.model} is no package; other programs are measured beside packages that dbell quantize made, and beside shapes`,
    );
  const source = await openPackage(subject.model, { checkValues: false });
  try {
    return {
      model: subject.model,
      peers: await all(peers, (peer) => preparePeerOf(source, folder, peer, control)),
    };
  } finally {
    source.close();
  }
};

export function findShape(name: string): ModelShape {
  if (Object.hasOwn(modelShapes, name)) return modelShapes[name as keyof typeof modelShapes];
  throw new DBellError(
    'invalid-input',
    `there is no shape ${name}; there are ${Object.keys(modelShapes).join(', ')}`,
  );
}

/** What can be prepared; why not where it cannot, so that the others are measured all the same. */
async function all(
  peers: readonly PeerRequest[],
  prepare: (peer: PeerRequest) => Promise<PreparedPeer>,
): Promise<TaskResult<'prepareBenchmark'>['peers']> {
  const prepared: TaskResult<'prepareBenchmark'>['peers'] = [];
  for (const request of peers)
    try {
      if (request.engine === 'llama.cpp') requireLlamaCpp();
      prepared.push(await prepare(request));
    } catch (error) {
      const problem = toErrorPayload(error);
      if (problem.code !== 'not-found' && problem.code !== 'unsupported-model') throw error;
      prepared.push({ request, problem });
    }
  return prepared;
}

/** Throws DBellError `invalid-input` for a type that a peer does not have. */
function checkRequest({ engine, type }: PeerRequest): void {
  const types: readonly string[] = engine === 'onnxruntime' ? onnxruntimeTypes : syntheticGgufTypes;
  if (type !== undefined && !types.includes(type))
    throw new DBellError(
      'invalid-input',
      `${engine} has no type ${type} here; there are ${types.join(', ')}`,
    );
}

async function preparePeerOf(
  source: PackageSource,
  folder: string,
  peer: PeerRequest,
  control: TaskControl,
): Promise<PreparedPeer> {
  const levels = source.quantization.levels ?? 4;
  if (peer.engine === 'onnxruntime' || peer.type !== undefined)
    return prepareRandom(folder, peer, shapeOf(source.architecture), typeOfLevels(levels), '', control);
  const gguf = path.join(folder, 'exported.gguf');
  tell(control, 'export', 'GGUF');
  try {
    const { types } = await exportGguf(source, gguf, {
      stopRequested: () => control.stopRequested(),
      border: () => control.border(),
    });
    const quantized = Object.entries(types).filter(([type]) => type !== 'F32');
    const [largest] = quantized.sort(([, a], [, b]) => b.bytes - a.bytes);
    return {
      engine: peer.engine,
      type: largest?.[0] ?? 'F32',
      weights: `exported from the package: ${quantized.map(([type, { tensors }]) => `${tensors} tensors in ${type}`).join(', ')}`,
      weightRatio: 1,
      shape: shapeOf(source.architecture),
      gguf,
      unreadBytes: 0,
    };
  } catch (error) {
    if (!(error instanceof DBellError) || error.code !== 'unsupported-model') throw error;
    const reason = ` (the package cannot be exported: ${error.message})`;
    return prepareRandom(folder, peer, shapeOf(source.architecture), typeOfLevels(levels), reason, control);
  }
}

async function prepareRandom(
  folder: string,
  { engine, type }: PeerRequest,
  shape: ModelShape,
  ggufType: SyntheticGgufType,
  reason: string,
  control: TaskControl,
): Promise<PreparedPeer> {
  const random = (peerShape: ModelShape): string =>
    `random, ${peerShape === shape ? 'of the same shape' : peerShape.name}${reason}`;
  if (engine === 'onnxruntime')
    return {
      engine,
      type: type ?? 'int4',
      weights: random(shape),
      weightRatio: 1,
      ...{ shape, gguf: null, unreadBytes: 0 },
    };
  const wanted = (type ?? ggufType) as SyntheticGgufType;
  const wide = shapeForType(shape, wanted);
  const gguf = path.join(folder, `${wanted}.gguf`);
  tell(control, 'write random weights', `GGUF ${wanted}`);
  await writeSyntheticGguf(gguf, wide, wanted, () => control.border());
  return {
    engine,
    type: wanted,
    weights: random(wide),
    weightRatio: shapeParameters(wide) / shapeParameters(shape),
    shape: wide,
    gguf,
    unreadBytes: unreadEmbeddingBytes(wide, wanted),
  };
}

/** The shape of a LLaMA-like model. Throws DBellError `unsupported-model` for others, of which no model with random weights is made. */
function shapeOf(architecture: Architecture): ModelShape {
  const { headCount, headDimension, hiddenSize, mlp, normPlacement, position, embedding } = architecture;
  if (
    headCount * headDimension !== hiddenSize ||
    mlp !== 'gated' ||
    normPlacement !== 'pre' ||
    position.kind !== 'rope' ||
    embedding.embeddingSize !== hiddenSize
  )
    throw new DBellError(
      'unsupported-model',
      `a ${architecture.modelType} model of this geometry has no counterpart with random weights; it can be measured without other programs`,
    );
  return {
    name: `${architecture.modelType} of ${architecture.blocks.length} blocks`,
    ...{ hiddenSize, headCount, intermediateSize: architecture.intermediateSize },
    blockCount: architecture.blocks.length,
    keyValueHeadCount: architecture.keyValueHeadCount,
    vocabularySize: architecture.vocabularySize,
    contextLength: architecture.contextLength,
    tiedHead: architecture.head.tied,
  };
}

function tell(control: TaskControl, stage: SentStage, item: string): void {
  control.progress({
    task: 'benchmark',
    ...{ stage, item, fraction: null, step: null, relativeError: null, remainingMs: null },
  });
}
