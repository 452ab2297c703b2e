import '../../engine/float/no-telemetry.ts';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { float, GraphBuilder, int } from '../../engine/float/onnx/graph-builder.ts';
import { median } from '../../engine/measure/statistics.ts';
import type { ModelShape } from '../../engine/model/model-shapes.ts';
import { greedyToken } from '../../engine/model/sampling.ts';
import { type Lengths, timed } from './measure-model.ts';
import { randomBytes } from './random-package.ts';

export type BaselineKind = 'float32' | 'MatMulNBits 4 bits';

export interface BaselineFigures {
  kind: BaselineKind;
  provider: string;
  loadMs: number;
  prefillTokensPerSecond: number;
  decodeTokensPerSecond: number;
  timeToFirstTokenMs: number;
}

/** A protobuf holds less than 2 GB; blocks beyond these use their weights again, which together are larger than any cache. */
const weightBytesAtMost = 1.2e9;
const blockSize = 32;

/**
 * onnxruntime's WebGPU provider on the weights' work of a shape: norms, every linear, SiLU and the head, in one graph whose weights stay on the device. It has no attention
 * and no cache, which favours it. Throws what onnxruntime says.
 */
export async function measureBaseline(
  shape: ModelShape,
  kind: BaselineKind,
  lengths: Lengths,
  provider = 'webgpu',
): Promise<BaselineFigures> {
  const model = buildGraph(shape, kind);
  let session!: InferenceSession;
  const loadMs = await timed(async () => {
    session = await InferenceSession.create(model, {
      executionProviders: [provider as 'cpu'],
      logSeverityLevel: 3,
    });
  });
  const { hiddenSize } = shape;
  const run = async (tokens: number) => {
    const x = Float32Array.from({ length: tokens * hiddenSize }, (_, index) => Math.sin(index));
    const { logits } = await session.run({ x: new Tensor('float32', x, [tokens, hiddenSize]) });
    return greedyToken(logits!.data as Float32Array);
  };
  try {
    const prefills: number[] = [];
    const firsts: number[] = [];
    const decodes: number[] = [];
    for (let repetition = 0; repetition <= lengths.repetitions; repetition++) {
      const prefillMs = await timed(() => run(lengths.prefill));
      const firstMs = await timed(() => run(lengths.firstToken));
      const decodeMs = await timed(async () => {
        for (let token = 0; token < lengths.decode; token++) await run(1);
      });
      if (repetition === 0) continue;
      prefills.push((lengths.prefill / prefillMs) * 1000);
      firsts.push(firstMs);
      decodes.push((lengths.decode / decodeMs) * 1000);
    }
    return {
      kind,
      provider,
      loadMs,
      prefillTokensPerSecond: median(prefills),
      decodeTokensPerSecond: median(decodes),
      timeToFirstTokenMs: median(firsts),
    };
  } finally {
    await session.release();
  }
}

function buildGraph(shape: ModelShape, kind: BaselineKind): Uint8Array {
  const { hiddenSize, intermediateSize, blockCount, headCount, keyValueHeadCount, vocabularySize } = shape;
  const keySize = (hiddenSize / headCount) * keyValueHeadCount;
  const graph = new GraphBuilder('baseline');
  const weights = new Map<string, string[]>();
  const bitsPerWeight = kind === 'float32' ? 32 : 5;
  const blockWeights = 2 * hiddenSize * (hiddenSize + keySize) + 3 * hiddenSize * intermediateSize;
  const distinct = Math.max(
    1,
    Math.min(blockCount, Math.floor((8 * weightBytesAtMost) / (bitsPerWeight * blockWeights))),
  );
  const linear = (name: string, x: string, columns: number, rows: number): string => {
    const size = { K: int(columns), N: int(rows) };
    let values = weights.get(name);
    if (!values) {
      values = kind === 'float32' ? floats(graph, columns, rows) : packed(graph, columns, rows);
      weights.set(name, values);
    }
    return kind === 'float32'
      ? graph.node('MatMul', [x, values[0]!])
      : graph.node('MatMulNBits', [x, ...values], {
          domain: 'com.microsoft',
          attributes: { ...size, bits: int(4), block_size: int(blockSize) },
        });
  };
  const ones = graph.constant('float32', [hiddenSize], new Float32Array(hiddenSize).fill(1));
  const norm = (x: string) =>
    graph.node('SimplifiedLayerNormalization', [x, ones], {
      attributes: { epsilon: float(1e-5), axis: int(-1) },
    });
  let hidden = graph.input('x', 'float32', ['tokens', hiddenSize]);
  for (let block = 0; block < blockCount; block++) {
    const of = (name: string) => `${name} ${block % distinct}`;
    const x = norm(hidden);
    const query = linear(of('q'), x, hiddenSize, hiddenSize);
    const key = linear(of('k'), x, hiddenSize, keySize);
    const value = linear(of('v'), x, hiddenSize, keySize);
    // In place of attention, so that none of the three is left out: their sum over the heads' groups.
    const repeated = graph.concat(
      Array.from({ length: hiddenSize / keySize }, () => graph.node('Add', [key, value])),
      1,
    );
    const mixed = graph.node('Add', [query, repeated]);
    hidden = graph.node('Add', [hidden, linear(of('o'), mixed, hiddenSize, hiddenSize)]);
    const y = norm(hidden);
    const gate = linear(of('gate'), y, hiddenSize, intermediateSize);
    const up = linear(of('up'), y, hiddenSize, intermediateSize);
    const activated = graph.node('Mul', [graph.node('Mul', [gate, graph.node('Sigmoid', [gate])]), up]);
    hidden = graph.node('Add', [hidden, linear(of('down'), activated, intermediateSize, hiddenSize)]);
  }
  const last = graph.slice(norm(hidden), 0, -1, Number.MAX_SAFE_INTEGER);
  graph.output(linear('head', last, hiddenSize, vocabularySize), 'logits', 'float32', [1, vocabularySize]);
  return graph.finish();
}

function floats(graph: GraphBuilder, columns: number, rows: number): string[] {
  const bytes = randomBytes({ name: 'codes', offset: 0, valueBytes: 0 }, columns, columns * rows);
  const values = Float32Array.from(bytes, (byte) => (byte - 127.5) / 2 ** 13);
  return [graph.constant('float32', [columns, rows], values)];
}

/** Two codes a byte, a scale for each block of 32 columns; the zero point is 8. */
function packed(graph: GraphBuilder, columns: number, rows: number): string[] {
  const blocks = Math.ceil(columns / blockSize);
  const codes = randomBytes(
    { name: 'codes', offset: 0, valueBytes: 0 },
    columns,
    (rows * blocks * blockSize) / 2,
  );
  return [
    graph.constant('uint8', [rows, blocks, blockSize / 2], codes),
    graph.constant('float32', [rows * blocks], new Float32Array(rows * blocks).fill(2 ** -8)),
  ];
}
