import type { EmbeddingBits } from '../contract/common.ts';
import type { ModelSource } from '../model/source.ts';
import type { QuantizedLinear } from './quantized-linear.ts';
import type { Recipe } from './recipe.ts';
import type { TableMetric } from './table-metric.ts';

/** Per-layer figures kept in quality.json and in the history. */
export interface LayerReport {
  name: string;
  /** tr((W−Q) H (W−Q)ᵀ) / tr(W H Wᵀ) over the layer's own calibration inputs, undamped H, with token weights where the recipe has them. */
  relativeError: number;
  /** The same of what Q was fitted to instead of W; left out where that was W itself. */
  targetRelativeError?: number;
  /** ‖W − Q‖² / ‖W‖². */
  weightRelativeError: number;
  /** What had to be done beyond the recipe (raised damping, plain rounding, dead columns …), in words; else empty. */
  notes: string[];
}

/** Everything of a finished block that goes into the package, besides what is copied from the source unchanged. */
export interface QuantizedBlock {
  index: number;
  linears: QuantizedLinear[];
  /** Norm weights and biases changed by folding, and other float tensors of the block, by name: float32. */
  floatTensors: Map<string, { shape: number[]; values: Float32Array }>;
  reports: LayerReport[];
}

/** What the pipeline hands its results to; implemented by `engine/package`, composed by the service. */
export interface QuantizationSink {
  /** Blocks that are already stored completely and belong to this fingerprint. */
  storedBlocks(): number[];
  /** Packs and stores a block atomically (temporary name, fsync, rename). Bytes depend on the block alone. */
  writeBlock(block: QuantizedBlock): void;
  /** Writes everything outside the blocks and puts the package together; OUT appears by rename. */
  finish(summary: {
    source: ModelSource;
    recipe: Recipe;
    embeddingBits: EmbeddingBits;
    calibration: Record<string, unknown>;
    /** What an error of the head's table costs, for tables of 6 and 4 bits; null: they are rounded. */
    tableMetric: TableMetric | null;
  }): Promise<PackageSummary>;
}

export interface PackageSummary {
  path: string;
  /** 8 · stored bytes of the quantized linears / their weights. */
  storedBitsPerWeight: number;
  /** Every file of the package. */
  bytes: number;
}
