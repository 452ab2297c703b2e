import { columnsPerBlock } from '../float/types.ts';

export { columnsPerBlock };

/**
 * A quantized linear layer on its way from the numerics to the package, before packing. fp16 values are stored bits (Uint16Array), rounded
 * once, here; everything behind (float path, package, runtime) computes from these very bits. Blocks are 128 input columns: block(j) = floor(j / 128),
 * blocks = ceil(in / 128); rows are output features.
 */
interface QuantizedLinearBase {
  /** Module name, e.g. `model.layers.0.self_attn.q_proj`. */
  name: string;
  outFeatures: number;
  inFeatures: number;
  /** `[out]` or null. */
  bias: Float32Array | null;
  /** Multiplier of the input columns that could not be folded, `[in]`, or null. */
  columnScale: Float32Array | null;
}

/**
 * Salient residual columns (architecture.md "The packed model"): a second, 2-level quantization of what the grid leaves over in a few columns. With the
 * gathered index k of column j = columns[k] and b(k) = floor(k / 128), W_ij += r'_{i,b(k)} · (q'_ik − ½).
 */
export interface GridResidual {
  /** Column indices, ascending, each once, `[count]`, 1 ≤ count ≤ in. */
  columns: Int32Array;
  levels: 2;
  /** q', `[out, count]`, 0 or 1. */
  codes: Uint8Array;
  /** r' as fp16 bits, `[out, ceil(count / 128)]`. */
  scales: Uint16Array;
}

/**
 * W_ij = r_{i,blk(j)} · (q_ij − (levels − 1) / 2) [+ m_{i,blk(j)}] [+ r'_{i,b(k)} · (q'_ik − ½)]; arithmetic in float32 in exactly this order. The column scale
 * multiplies the sum. With rowScale t the sum is multiplied by t_i first: W_ij = t_i · (…), rounded to float32.
 */
export interface GridLinear extends QuantizedLinearBase {
  layout: 'grid';
  /** 2 … 256; planes = ceil(log2 levels). */
  levels: number;
  /** q, `[out, in]`. */
  codes: Uint8Array;
  /** r as fp16 bits, `[out, blocks]`. */
  scales: Uint16Array;
  /** m as fp16 bits, `[out, blocks]`, or null. */
  offsets: Uint16Array | null;
  /**
   * t, `[out]`: scales that fp16 cannot hold, of models whose weights come with float scales; not together with a residual. Absent or null: 1.
   */
  rowScale?: Float32Array | null;
  /** Null where no column has a residual. */
  residual: GridResidual | null;
}

/**
 * BiLLM's storage (architecture.md "The packed model"): two planes. Code bit 0 is plane A, bit 1 plane B.
 * Ordinary column: bit 0 = sign (1: +), bit 1 = group (0: concentrated, 1: sparse):
 *   W = mean_group ± scale_group.
 * Salient column: bit 0 = first sign, bit 1 = second sign: W = (mean ± scale1) ± scale2.
 */
export interface StructuredLinear extends QuantizedLinearBase {
  layout: 'structured';
  /** `[out, in]`, values 0 … 3. */
  codes: Uint8Array;
  /**
   * fp16 bits, `[out, blocks, 7]`: concentrated mean, concentrated scale, sparse mean, sparse scale, salient mean (both means summed),
   * salient scale 1, salient scale 2.
   */
  levels: Uint16Array;
  /** 1 for a salient column, `[in]`. */
  salientColumns: Uint8Array;
}

export type QuantizedLinear = GridLinear | StructuredLinear;
export function blockCount(inFeatures: number): number {
  return Math.ceil(inFeatures / columnsPerBlock);
}
