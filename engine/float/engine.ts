import type { FloatDevice } from '../contract/common.ts';
import { DBellError } from '../contract/errors.ts';
import type { Architecture } from '../model/architecture.ts';
import type { ModelSource } from '../model/source.ts';
import { OnnxBlockRunner } from './block-runner.ts';
import { CrossProducts } from './cross-product.ts';
import { Embedding } from './embedding.ts';
import { PanelGramAccumulator } from './gram.ts';
import { blockParameters } from './graphs/parameters.ts';
import { Head } from './head.ts';
import { HeadGram } from './head-input.ts';
import type {
  ActivationBits,
  BlockRunner,
  BlockWeights,
  CrossProductAccumulator,
  FloatEngine,
  GramAccumulator,
} from './types.ts';

export interface FloatEngineOptions {
  /** Threads of every operator. */
  threads: number;
  /** What runs blocks, cross products and head; `cpu` by default. */
  device?: FloatDevice;
}

/** Full-precision execution of an opened model on onnxruntime. The source stays the caller's to close. */
export async function createFloatEngine(
  source: ModelSource,
  options: FloatEngineOptions,
): Promise<FloatEngine> {
  if (!Number.isInteger(options.threads) || options.threads < 1)
    throw new DBellError(
      'invalid-input',
      `threads is ${options.threads}; it must be a whole number from 1 on`,
    );
  checkSameStructure(source.architecture);
  const device = options.device ?? 'cpu';
  return new OnnxFloatEngine(source, options.threads, device);
}

/**
 * Computes something very small, so that a device that cannot be used is known before anything else is done.
 *
 * @throws DBellError `gpu-unavailable` with what onnxruntime says
 */
export async function checkFloatDevice(device: FloatDevice): Promise<void> {
  if (device === 'cpu') return;
  const products = new CrossProducts(1, device);
  try {
    const left = new Float32Array(16);
    await products
      .accumulator(4, 4)
      .add({ left, minus: null, right: left, tokenWeights: null }, 'the device');
  } finally {
    await products.close();
  }
}

/** One graph serves every block, so all must have the first one's weights in the first one's shapes. */
function checkSameStructure(architecture: Architecture): void {
  const structure = (index: number): string =>
    JSON.stringify(
      blockParameters(architecture, architecture.blocks[index]!).map(({ input, shape }) => [input, shape]),
    );
  const first = structure(0);
  for (const { index } of architecture.blocks)
    if (structure(index) !== first)
      throw new DBellError(
        'unsupported-model',
        `block ${index} has other weights than block 0; models whose blocks differ cannot be run`,
      );
}

class OnnxFloatEngine implements FloatEngine {
  readonly device: FloatDevice;
  private readonly source: ModelSource;
  private readonly threads: number;
  private readonly embedding: Embedding;
  private readonly head: Head;
  private readonly crossProducts: CrossProducts;
  private readonly headGrams = new Map<ActivationBits, HeadGram>();
  private readonly runners = new Map<number, OnnxBlockRunner>();

  constructor(source: ModelSource, threads: number, device: FloatDevice) {
    this.source = source;
    this.threads = threads;
    this.device = device;
    this.embedding = new Embedding(source);
    this.head = new Head(source, threads, 16, device);
    this.crossProducts = new CrossProducts(threads, device);
  }

  loadBlock(blockIndex: number): BlockWeights {
    const { architecture } = this.source;
    const block = architecture.blocks[blockIndex];
    if (!block)
      throw new DBellError(
        'internal',
        `block ${blockIndex} does not exist; the model has ${architecture.blocks.length}`,
      );
    return new Map(
      blockParameters(architecture, block).map(({ tensor }) => [tensor, this.source.readFloat32(tensor)]),
    );
  }

  embed(ids: Int32Array): Float32Array {
    return this.embedding.embed(ids);
  }

  async blockRunner(context: number): Promise<BlockRunner> {
    if (!Number.isInteger(context) || context < 1)
      throw new DBellError('invalid-input', `context is ${context}; it must be a whole number from 1 on`);
    let runner = this.runners.get(context);
    if (!runner || runner.closed) {
      runner = new OnnxBlockRunner(this.source.architecture, context, this.threads, this.device);
      this.runners.set(context, runner);
    }
    return runner;
  }

  newGram(size: number): GramAccumulator {
    return new PanelGramAccumulator(size);
  }

  newCrossProduct(leftSize: number, rightSize: number): CrossProductAccumulator {
    return this.crossProducts.accumulator(leftSize, rightSize);
  }

  addHeadGram(hidden: Float32Array, gram: GramAccumulator, activationBits: ActivationBits): Promise<void> {
    let headGram = this.headGrams.get(activationBits);
    if (!headGram) {
      headGram = new HeadGram(this.source, this.threads, activationBits, this.device);
      this.headGrams.set(activationBits, headGram);
    }
    return headGram.add(hidden, gram);
  }

  tokenLosses(hidden: Float32Array, ids: Int32Array): Promise<Float32Array> {
    return this.head.tokenLosses(hidden, ids);
  }

  logits(hidden: Float32Array, rows: number): Promise<Float32Array> {
    return this.head.logits(hidden, rows);
  }

  async close(): Promise<void> {
    for (const runner of this.runners.values()) await runner.close();
    this.runners.clear();
    await this.crossProducts.close();
    for (const headGram of this.headGrams.values()) await headGram.close();
    this.headGrams.clear();
    await this.head.close();
  }
}
