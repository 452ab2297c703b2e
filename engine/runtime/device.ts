import type { KeyValueCache } from '../contract/common.ts';
import type { TopLogits, TopRequest } from '../model/top-logits.ts';
import type { PackageSource } from '../package/types.ts';

export type ActivationBits = 16 | 8 | 6 | 4;

export interface DeviceOptions {
  activationBits: ActivationBits;
  keyValueCache: KeyValueCache;
}

/**
 * Something that runs packed models. The CPU is one; a GPU is another. Text models are built on this alone. Calls may block the thread; a device
 * works on a chunk of at most `tokensPerChunk` tokens at a time, so that whoever drives it can stop in between.
 */
export interface Device {
  readonly name: string;
  /** What it can keep keys and values as. */
  readonly keyValueCaches: readonly KeyValueCache[];
  /** Makes a checked package ready to run. The package may be closed afterwards. Throws DBellError. */
  load(source: PackageSource, options: DeviceOptions): Promise<DeviceModel>;
}

/** How fast a device moves its own memory, bytes read and written together. */
export interface DeviceBandwidth {
  bytesPerSecond: number;
  bufferBytes: number;
  passes: number;
}

export interface DeviceModel {
  /** Of a device with memory of its own: how long the weights took to get there. */
  readonly uploadMs?: number;
  /** Of such a device. Throws DBellError. */
  measureBandwidth?(): Promise<DeviceBandwidth>;

  /** What computes, such as `avx512vnni`, `generic`, `float-avx2`. */
  readonly kernelPath: string;
  readonly tokensPerChunk: number;
  /** Bytes that loading made resident or mapped, itemised. */
  readonly memoryBytes: Readonly<Record<string, number>>;
  createSession(contextLength: number): Promise<DeviceSession>;
  close(): void;
}

export interface DeviceSession {
  readonly position: number;
  readonly cacheBytes: number;
  /** Bytes of the buffers of a chunk. */
  readonly scratchBytes: number;
  /** Of the kernels of the last `feed`, by the device's own clock; null where it has none that tells. */
  readonly kernelMs?: number | null;
  /** Appends 1 … tokensPerChunk ids; with `logits` `[vocabularySize]` fills it after the last one. */
  feed(ids: Int32Array, logits: Float32Array | null): Promise<void>;
  /** Of a device with memory of its own: appends as many ids; the highest logits after the last one. Throws DBellError `invalid-input` beyond `topLimits`. */
  feedTop?(ids: Int32Array, request: TopRequest): Promise<TopLogits>;
  /** Appends as many ids; natural-log losses of targets[i] after ids[0 … i]. */
  losses(ids: Int32Array, targets: Int32Array): Promise<Float32Array>;
  /**
   * Logits `[count, vocabularySize]` after tokens of the chunk that `feed` took last (`chunkRows` ids), from row `firstRow` on; count follows from
   * the array's length.
   */
  chunkLogits(chunkRows: number, firstRow: number, logits: Float32Array): Promise<void>;
  reset(): void;
  close(): void;
}
