import type { PredictingSession } from '../model/next-token.ts';
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

/** One sequence. Gives the logits after the last token fed, or the most probable next token itself where a program gives no logits away. */
export interface MeasuredSession extends PredictingSession {
  readonly cacheBytes: number;
  /** Of the last `feed`, by the device's own clock. */
  readonly kernelMs?: number | null;
  /** Empties the cache. */
  reset(): void | Promise<void>;
  close(): void | Promise<void>;
}
