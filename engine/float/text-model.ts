import { DBellError } from '../contract/errors.ts';
import type { ModelSource } from '../model/source.ts';
import type { TextModel, TextSession } from '../model/text-model.ts';
import { floatBytesReadPerToken } from './bytes-per-token.ts';
import { CachedBlockRunner } from './cached-block-runner.ts';
import { Embedding } from './embedding.ts';
import { createFloatEngine } from './engine.ts';
import { assertFinite } from './finite.ts';
import { Head } from './head.ts';
import { KeyValueCache } from './key-value-cache.ts';
import { blockWeightBytes } from './memory-estimate.ts';
import type { ActivationBits, ActivationScales, BlockWeights, ColumnScales } from './types.ts';

export interface FloatTextModelOptions {
  /** Threads of every operator. */
  threads: number;
  /** Bits of the inputs of all quantized linears; 16 (float) by default. */
  activationBits?: ActivationBits;
  /** What shares a step of these inputs; `token` by default. */
  activationScales?: ActivationScales;
  /** Bits of the LM head's input, which is rounded by token; 16 (float) by default. */
  headActivationBits?: ActivationBits;
  /** Weights to use in place of the source's, such as those of a dequantized package. */
  blockWeights?: (blockIndex: number) => BlockWeights;
  columnScales?: (blockIndex: number) => ColumnScales | undefined;
  /**
   * `resident` keeps every block's weights in memory as float32; `streamed` reads each block when it is its turn (one token then costs a pass over the file). Default:
   * resident where the weights take at most `residentShare` of the available memory.
   */
  weights?: 'resident' | 'streamed';
}

/** What is left of the memory is for the head, the cache, scratch and everybody else. */
const residentShare = 0.6;

/** A model in full precision on onnxruntime, for perplexity, generation and as the benchmark's baseline. The source stays the caller's to close. */
export async function createFloatTextModel(
  source: ModelSource,
  options: FloatTextModelOptions,
): Promise<TextModel> {
  const { architecture } = source;
  const engine = await createFloatEngine(source, { threads: options.threads });
  const load = options.blockWeights ?? ((index: number) => engine.loadBlock(index));
  const allBytes = blockWeightBytes(architecture) * architecture.blocks.length;
  const placement =
    options.weights ?? (allBytes <= residentShare * process.availableMemory() ? 'resident' : 'streamed');
  const resident = placement === 'resident' ? architecture.blocks.map(({ index }) => load(index)) : null;
  return new FloatTextModel(source, options, (index) => resident?.[index] ?? load(index), resident);
}

class FloatTextModel implements TextModel {
  readonly kind = 'float';
  readonly kernelPath = 'onnxruntime-cpu';
  readonly device = 'cpu';
  readonly vocabularySize: number;
  readonly contextLength: number;
  readonly activationBits: ActivationBits;
  readonly activationScales?: ActivationScales;
  readonly bytesReadPerToken: TextModel['bytesReadPerToken'];
  readonly source: ModelSource;
  readonly embedding: Embedding;
  readonly head: Head;
  private readonly runner: CachedBlockRunner;
  private readonly options: FloatTextModelOptions;
  private readonly weightsOf: (blockIndex: number) => BlockWeights;
  private resident: BlockWeights[] | null;

  constructor(
    source: ModelSource,
    options: FloatTextModelOptions,
    weightsOf: (blockIndex: number) => BlockWeights,
    resident: BlockWeights[] | null,
  ) {
    const { architecture } = source;
    this.source = source;
    this.options = options;
    this.vocabularySize = architecture.vocabularySize;
    this.contextLength = architecture.contextLength;
    this.activationBits = options.activationBits ?? 16;
    if (this.activationBits < 16) this.activationScales = options.activationScales ?? 'token';
    this.bytesReadPerToken = floatBytesReadPerToken(architecture);
    this.embedding = new Embedding(source);
    this.head = new Head(source, options.threads, options.headActivationBits ?? 16);
    this.runner = new CachedBlockRunner(
      architecture,
      options.threads,
      this.activationBits,
      options.activationScales ?? 'token',
    );
    this.weightsOf = weightsOf;
    this.resident = resident;
  }

  get memoryBytes(): Readonly<Record<string, number>> {
    let blocks = 0;
    for (const weights of this.resident ?? [])
      for (const array of weights.values()) blocks += array.byteLength;
    return { blockWeights: blocks, head: this.head.weightBytes };
  }

  async createSession(options: { contextLength?: number } = {}): Promise<TextSession> {
    const contextLength = options.contextLength ?? this.contextLength;
    if (!Number.isInteger(contextLength) || contextLength < 1 || contextLength > this.contextLength)
      throw new DBellError(
        'invalid-input',
        `a context of ${contextLength} tokens was asked for; this model takes 1 to ${this.contextLength}`,
      );
    return new FloatTextSession(this, contextLength);
  }

  /**
   * Runs new positions through all blocks, one block after the other, so that streamed weights are read once.
   *
   * @param cacheOf the cache of a block; its positions precede `ids`
   * @returns hidden states behind the last block, `[ids.length, hiddenSize]`
   */
  async advance(
    ids: Int32Array,
    firstPosition: number,
    cacheOf: (blockIndex: number) => KeyValueCache,
  ): Promise<Float32Array> {
    let hidden = this.embedding.embed(ids, firstPosition);
    for (const { index } of this.source.architecture.blocks) {
      const columnScales = this.options.columnScales?.(index);
      hidden = await this.runner.forward(index, this.weightsOf(index), columnScales, hidden, cacheOf(index));
    }
    return hidden;
  }

  async close(): Promise<void> {
    this.resident = null;
    await this.runner.close();
    await this.head.close();
  }
}

class FloatTextSession implements TextSession {
  readonly contextLength: number;
  private readonly model: FloatTextModel;
  private caches: KeyValueCache[];

  constructor(model: FloatTextModel, contextLength: number) {
    this.model = model;
    this.contextLength = contextLength;
    const { architecture } = model.source;
    this.caches = architecture.blocks.map(() => new KeyValueCache(architecture, contextLength));
  }

  get position(): number {
    return this.caches[0]?.positions ?? 0;
  }

  get cacheBytes(): number {
    return this.caches.reduce((sum, cache) => sum + cache.byteLength, 0);
  }

  async feed(ids: Int32Array): Promise<Float32Array> {
    const { position } = this;
    this.checkFits(ids, position);
    const { hiddenSize } = this.model.source.architecture;
    try {
      const hidden = await this.model.advance(ids, position, (index) => this.caches[index]!);
      const logits = await this.model.head.logits(hidden.subarray(hidden.length - hiddenSize), 1);
      assertFinite(logits, 1, 'the logits');
      return logits;
    } catch (error) {
      // Blocks before the failing one have the new positions already; all caches must agree.
      for (const cache of this.caches) cache.truncate(position);
      throw error;
    }
  }

  async tokenLosses(ids: Int32Array): Promise<Float32Array> {
    return this.model.head.tokenLosses(await this.windowHidden(ids), ids);
  }

  async *windowLogits(ids: Int32Array, rowsPerPiece: number): AsyncGenerator<Float32Array> {
    const { hiddenSize } = this.model.source.architecture;
    const hidden = await this.windowHidden(ids);
    for (let begin = 0; begin < ids.length; begin += rowsPerPiece) {
      const rows = Math.min(rowsPerPiece, ids.length - begin);
      const logits = await this.model.head.logits(
        hidden.subarray(begin * hiddenSize, (begin + rows) * hiddenSize),
        rows,
      );
      assertFinite(logits, rows, 'the logits');
      yield logits;
    }
  }

  reset(): void {
    for (const cache of this.caches) cache.truncate(0);
  }

  close(): void {
    this.caches = [];
  }

  /** Hidden states behind the last block of a window on an empty cache, `[ids.length, hiddenSize]`. */
  private async windowHidden(ids: Int32Array): Promise<Float32Array> {
    this.checkFits(ids, 0);
    // A window stands alone, and a block's keys and values are of no use behind it: one cache serves all.
    const cache = new KeyValueCache(this.model.source.architecture, ids.length);
    return this.model.advance(ids, 0, () => {
      cache.truncate(0);
      return cache;
    });
  }

  private checkFits(ids: Int32Array, position: number): void {
    if (ids.length === 0) throw new DBellError('invalid-input', 'no tokens were given');
    if (position + ids.length > this.contextLength)
      throw new DBellError(
        'invalid-input',
        `${ids.length} tokens behind the ${position} in the cache do not fit the context of ${this.contextLength}; start anew or take a longer context`,
      );
  }
}
