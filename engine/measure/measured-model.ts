import type { TextModel } from '../model/text-model.ts';

/** What the benchmark needs of a model; our own are `TextModel`s, other programs' are wrapped. */
export interface MeasuredModel
  extends Pick<
    TextModel,
    | 'vocabularySize'
    | 'contextLength'
    | 'activationBits'
    | 'activationScales'
    | 'keyValueCache'
    | 'kernelPath'
    | 'layerPaths'
    | 'device'
    | 'memoryBytes'
    | 'bytesReadPerToken'
    | 'uploadMs'
    | 'measureBandwidth'
  > {
  createSession(options: { contextLength: number }): Promise<MeasuredSession>;
  close(): Promise<void>;
}

/** One sequence. */
export interface MeasuredSession {
  readonly cacheBytes: number;
  /** Of the last `feed`, by the device's own clock. */
  readonly kernelMs?: number | null;
  /** Appends tokens; gives the logits after the last one, or the most probable next token itself where a program gives no logits away. */
  feed(ids: Int32Array): Promise<Float32Array | number>;
  /** Empties the cache. */
  reset(): void | Promise<void>;
  close(): void | Promise<void>;
}
