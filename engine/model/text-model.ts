import type { TopLogits, TopRequest } from './top-logits.ts';

export type BytesReadPerToken = Readonly<
  Record<'linears' | 'head' | 'embedding' | 'others' | 'kvCache', number>
>;

/**
 * A model that can be run, whatever runs it (onnxruntime in full precision, the packed runtime, a GPU later). Perplexity, generation and the
 * benchmark are written against this alone, so that every subject is measured the same way.
 */
export interface TextModel {
  readonly kind: 'float' | 'packed';
  readonly vocabularySize: number;
  readonly contextLength: number;
  /** Bits of the activations that enter quantized linears; 16 means not quantized. */
  readonly activationBits: 16 | 8 | 6 | 4;
  /** What keys and values are kept as; absent where it is float32. */
  readonly keyValueCache?: 'f16' | 'int8';
  /** What shares a step of rounded activations; absent where they are not rounded. */
  readonly activationScales?: 'token' | 'block';
  /** What computes: `onnxruntime-cpu`, or the packed runtime's path such as `avx512vnni`, `avx2`, `generic`, `float-avx2`. */
  readonly kernelPath: string;
  readonly device: string;
  /** Of a packed model: the kernels that its layers take, alike ones together. */
  readonly layerPaths?: readonly { path: string; layers: number; bytes: number }[];
  /** Bytes that loading made resident, itemised; keys are terms such as `weights`, `scratch`. */
  readonly memoryBytes: Readonly<Record<string, number>>;
  /**
   * Bytes that decoding one token must read from memory at least, with `depth` tokens in the cache before it; itemised: `linears`, `head`, `embedding`,
   * `others`, `kvCache` (docs/method.md).
   */
  bytesReadPerToken(depth: number): BytesReadPerToken;
  /** Of a device with memory of its own: how long the weights took to get there. */
  readonly uploadMs?: number;
  /** Of such a device: how fast it moves its memory, bytes read and written together. */
  measureBandwidth?(): Promise<{ bytesPerSecond: number; bufferBytes: number; passes: number }>;
  createSession(options?: { contextLength?: number }): Promise<TextSession>;
  close(): Promise<void>;
}

/** One sequence with its KV cache. */
export interface TextSession {
  /** Tokens in the cache. */
  readonly position: number;
  readonly contextLength: number;
  readonly cacheBytes: number;
  /** Of the kernels of the last `feed`, all its chunks together, by the device's own clock; null or absent where there is none that tells. */
  readonly kernelMs?: number | null;
  /**
   * Appends tokens and returns the logits after the last one, `[vocabularySize]` (valid until the next call). Throws DBellError `invalid-input`
   * when the tokens do not fit the context length, naming both.
   */
  feed(ids: Int32Array): Promise<Float32Array>;
  /**
   * The same with the highest logits only, where they come from a device with memory of its own: reading all of them takes longer than what it takes to find these there
   * (next-token.ts). Throws DBellError `invalid-input` beyond `topLimits` too.
   */
  feedTop?(ids: Int32Array, request: TopRequest): Promise<TopLogits>;
  /**
   * Natural-log losses of ids[1…] given what stands before each, `[ids.length − 1]`, in one pass on an empty cache.
   */
  tokenLosses(ids: Int32Array): Promise<Float32Array>;
  /**
   * Logits after each of the ids of a window on an empty cache, in order, `rowsPerPiece` rows at a time (the last piece may have fewer): `[rows, vocabularySize]`,
   * valid until the next piece. Memory is that of one piece; the whole would be gigabytes. Throws like `tokenLosses`.
   */
  windowLogits(ids: Int32Array, rowsPerPiece: number): AsyncGenerator<Float32Array>;
  /** Empties the cache. */
  reset(): void;
  close(): void;
}
