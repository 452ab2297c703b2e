import '../../float/no-telemetry.ts';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { DBellError } from '../../contract/errors.ts';
import type { ModelShape } from '../../model/model-shapes.ts';
import { mix32 } from '../../model/seeded-random.ts';
import type { MeasuredModel, MeasuredSession } from '../measured-model.ts';
import { type OnnxruntimeType, onnxruntimeGraph } from './onnxruntime-graph.ts';
import { keyValueBytes, type PeerFacts } from './peer.ts';

const cacheElementBytes = 4;

/**
 * A model of random weights in the shape on onnxruntime's CPU provider, with a key and value cache. The cache goes in without a copy and comes out with one, which Node's
 * binding makes of every output. Throws DBellError `out-of-memory`, or what onnxruntime says.
 */
export async function openOnnxruntime(
  shape: ModelShape,
  type: OnnxruntimeType,
  threads: number,
): Promise<{ model: MeasuredModel; facts: PeerFacts }> {
  const { bytes, distinctBlocks, weightBytesPerToken } = onnxruntimeGraph(shape, type);
  let session: InferenceSession;
  try {
    session = await InferenceSession.create(bytes, {
      executionProviders: ['cpu'],
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      executionMode: 'sequential',
      logSeverityLevel: 3,
      // Threads spin within a run, as they do by default, but not while others are measured.
      extra: { session: { force_spinning_stop: '1' } },
    });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new DBellError(
      /alloc/i.test(reason) ? 'out-of-memory' : 'internal',
      `onnxruntime cannot prepare ${shape.name} in ${type}: ${reason}`,
      { cause },
    );
  }
  const facts: PeerFacts = {
    version: `onnxruntime-node ${onnxruntimeVersion()}`,
    settings: {
      threads,
      operator: type === 'float32' ? 'MatMul' : 'MatMulNBits, blocks of 32, accuracy_level 4',
      attention: 'GroupQueryAttention',
      distinctBlocks,
      blocks: shape.blockCount,
    },
  };
  const model: MeasuredModel = {
    vocabularySize: shape.vocabularySize,
    contextLength: shape.contextLength,
    activationBits: type === 'float32' ? 16 : 8,
    kernelPath: `onnxruntime ${type}`,
    device: 'cpu',
    memoryBytes: { weights: bytes.length },
    bytesReadPerToken: (depth) => ({
      linears: weightBytesPerToken,
      head: 0,
      embedding: 0,
      others: 0,
      kvCache: keyValueBytes(shape, depth + 1, cacheElementBytes),
    }),
    createSession: async () => new OnnxruntimeSession(session, shape),
    close: () => session.release(),
  };
  return { model, facts };
}

function onnxruntimeVersion(): string {
  const file = createRequire(import.meta.url).resolve('onnxruntime-node/package.json');
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

class OnnxruntimeSession implements MeasuredSession {
  readonly #session: InferenceSession;
  readonly #shape: ModelShape;
  #past = new Map<string, Tensor>();
  #position = 0;

  constructor(session: InferenceSession, shape: ModelShape) {
    this.#session = session;
    this.#shape = shape;
    this.reset();
  }

  get cacheBytes(): number {
    return keyValueBytes(this.#shape, this.#position, cacheElementBytes);
  }

  async feed(ids: Int32Array): Promise<Float32Array> {
    const { hiddenSize } = this.#shape;
    const total = this.#position + ids.length;
    const feeds: Record<string, Tensor> = {
      // In place of an embedding, of which a token reads one row: values that depend on the token.
      x: new Tensor('float32', embed(ids, hiddenSize), [1, ids.length, hiddenSize]),
      lastPosition: new Tensor('int32', Int32Array.of(total - 1), [1]),
      totalLength: new Tensor('int32', Int32Array.of(total), []),
    };
    for (const [name, tensor] of this.#past) feeds[`past.${name}`] = tensor;
    const results = await this.#session.run(feeds);
    for (const name of this.#past.keys()) {
      const present = results[`present.${name}`];
      if (present !== undefined) this.#past.set(name, present as Tensor);
    }
    this.#position = total;
    return results.logits?.data as Float32Array;
  }

  reset(): void {
    const { hiddenSize, headCount, keyValueHeadCount, blockCount } = this.#shape;
    const empty = () =>
      new Tensor('float32', new Float32Array(0), [1, keyValueHeadCount, 0, hiddenSize / headCount]);
    this.#past = new Map();
    for (let block = 0; block < blockCount; block += 1) {
      this.#past.set(`key.${block}`, empty());
      this.#past.set(`value.${block}`, empty());
    }
    this.#position = 0;
  }

  close(): void {
    this.#past.clear();
  }
}

function embed(ids: Int32Array, hiddenSize: number): Float32Array {
  const rows = new Float32Array(ids.length * hiddenSize);
  for (const [token, id] of ids.entries())
    for (let column = 0; column < hiddenSize; column += 1)
      rows[token * hiddenSize + column] = mix32(id * hiddenSize + column) * 2 ** -31 - 1;
  return rows;
}
