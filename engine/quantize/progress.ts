import type { StageName } from '../model/architecture.ts';

/** What the pipeline is doing, in the order of the work within a block. */
export type QuantizationStep =
  /** Checking inputs, fingerprints, embedding the calibration windows. */
  | 'prepare'
  /** Float model over the windows: block outputs and activation maxima. */
  | 'float-stream'
  /** Training LTDB's scales. */
  | 'transform'
  /** Quantized stream up to a stage's input, with its Hessian. */
  | 'calibrate'
  /** Codes and scales of one linear. */
  | 'quantize'
  /** Quantized stream out of the block. */
  | 'propagate'
  /** Packing and storing the block. */
  | 'write'
  /** Everything outside the blocks, and the package's rename. */
  | 'finish';

/** Training of one linear's T, in a few numbers. */
export interface LtdbSummary {
  /** Mean of L_DTNP over the blocks of 128 columns, epoch by epoch, thinned to at most `ltdbCurvePoints`. */
  lossCurve: number[];
  /** Epoch of each entry of `lossCurve`. */
  epochs: number[];
  blockCount: number;
  meanEpochs: number;
  /** Blocks that stopped because L_DTMD rose. */
  stoppedEarly: number;
  /** Blocks that kept the start value since their loss was not finite. */
  keptStart: number;
}

/** Histogram over equal bins from minimum to maximum. */
export interface WeightHistogram {
  minimum: number;
  maximum: number;
  counts: number[];
}

/** Largest magnitude of each group of neighbouring input channels, before and after x' = x / T. */
export interface ChannelMaxima {
  channels: number;
  before: number[];
  after: number[];
}

/**
 * One progress event; plain JSON values only. `null` means "does not apply at this step".
 */
export interface QuantizationProgress {
  step: QuantizationStep;
  /** Zero-based; equals blockCount in `finish`. */
  blockIndex: number;
  blockCount: number;
  stage: StageName | null;
  /** Module name of a linear. */
  layer: string | null;
  /** Relative error of the linear that was just quantized (LayerReport.relativeError). */
  relativeError: number | null;
  /** What was done beyond the recipe for this linear (LayerReport.notes). */
  notes: string[];
  /** Windows done in this step. */
  doneWindows: number;
  totalWindows: number;
  /** Share of the whole job that is done, blocks of earlier processes included: 0 … 1. */
  fraction: number;
  /** Time of this process, pauses left out. */
  elapsedMs: number;
  /** From measured speed; null until enough was measured to say something. */
  etaMs: number | null;
  /** How well `etaMs` is known. */
  etaRangeMs: { low: number; high: number } | null;
  ltdb: LtdbSummary | null;
  /** Weights before and after the transform, and as quantized; only with `collectHistograms`. */
  histograms: { original: WeightHistogram; transformed: WeightHistogram; quantized: WeightHistogram } | null;
  /** Where the float model's activations were looked at; only with `collectHistograms`. */
  channelMaxima: ChannelMaxima | null;
}

/** Polled between windows and linears. */
export interface QuantizationControl {
  paused(): boolean;
  stopRequested(): boolean;
}
