import { loadAddon } from './index.ts';

export interface GridFitOptions {
  levels: 2 | 3 | 4 | 8 | 16;
  rounds: number;
  sweeps: number;
  /** Input columns of a block. */
  blockSize: number;
  /** Added to H's diagonal, as a fraction of its mean; raised tenfold up to `maximumDamping` as long as H is not positive definite. */
  damping: number;
  maximumDamping: number;
  /** Fractions of the normal equations' diagonals by which r and c are drawn to their previous values. */
  rowRidge: number;
  columnRidge: number;
  /** `none`: c = 1. */
  columnScale: 'free' | 'none';
  /** How many input columns get one more binary plane (salient residual columns); 0 where it is left out. Those that promise most are taken: c_j² Σ_i r² / [H⁻¹]_jj. */
  residualColumns?: number;
  /**
   * Where c∘x is to be rounded to `bits` (of use with a free c only), with one step for every `columnsPerStep` columns of a token (left out: for all of them): a sample of
   * the inputs x before c, `[tokens, in]`, and w_t, `[tokens]`, such that Σ_t w_t x_t x_tᵀ estimates `hessian`. Then Σ_t w_t s_tg² / 12 · Σ_i Σ_j∈g (r s)²_ij,
   * s_tg = max_j∈g |c_j x_tj| / (2^(bits − 1) − 1), summed over the groups g of columns that share a step, is part of the loss that everything is fitted to (in the first round
   * at 8 times its price, also in `losses`).
   */
  activations?: {
    inputs: Float32Array;
    weights: Float32Array;
    bits: number;
    columnsPerStep?: number;
  } | null;
}

export interface GridFit {
  /** q, `[out, in]`. */
  codes: Uint8Array;
  /** r as fp16 bits, `[out, blocks]`. */
  scales: Uint16Array;
  /** c, `[in]`; null where columnScale is `none`. */
  columnScale: Float32Array | null;
  /** tr((W̃ − Ŵ) H (W̃ − Ŵ)ᵀ), with the cost of activation rounding where there is a sample, under the damped H: of GPTQ's pass, behind each round, and of what is stored. */
  startLoss: number;
  losses: Float64Array;
  loss: number;
  dampingUsed: number;
  /** Input columns with H_jj = 0. */
  deadColumns: number;
  /** Scales that did not fit fp16 and were cut to 65504. */
  saturatedValues: number;
  /** Ŵ_ij += c_j · r' · (q' − ½) for j = columns[k]: columns ascending, codes 0 and 1 `[out, count]`, r' as fp16 bits `[out, ceil(count / blockSize)]`. */
  residual: { columns: Int32Array; codes: Uint8Array; scales: Uint16Array } | null;
}

/**
 * Quantization numerics of the addon. All calls block their thread and use the native thread pool; results do not depend on the number
 * of threads. Matrices are row-major; a weight is `[out, in]` float32, an H is `[in, in]`.
 */
export interface NativeNumerics {
  /**
   * Upper Cholesky factor U of the inverse of the damped H: H⁻¹ = UᵀU, `[size, size]` float32 (lower triangle zero).
   * Columns with H_jj = 0 are dead: H_jj := 1 before damping, and they are reported. `damping` is a fraction of the mean diagonal; where the
   * factorization fails, or gives non-finite values, it is raised tenfold until it succeeds or passes `maximumDamping`; then `factor` is null (the caller falls back to plain rounding).
   * Method.md section 2.
   */
  inverseCholesky(
    hessian: Float64Array,
    size: number,
    options: { damping: number; maximumDamping: number },
  ): { factor: Float32Array | null; dampingUsed: number; deadColumns: Uint8Array };

  /**
   * LTDB (method.md section 1): trains the per-column scale of one linear, independently for each block of `blockSize` columns.
   * `absMax` is max|X_j| `[in]`; `weightMaximum` max_i |W_ij| `[in]` where it is to be shared over several linears, else null. Columns whose maximum is zero or whose
   * activation is dead get T = 1 and take no part in their block's statistics; a block with a non-finite loss keeps its start.
   * Kept is the T behind the step from the lowest L_DTNP (the reference code's choice), or, where that step led above the start's loss, the T of the lowest loss. Each epoch looks
   * at L_DTMD first: the one in which it has risen takes no step. |T| never falls below 1e-5. Where a target t lies within 1% of |a| + b of zero, that much divides instead.
   * Throws where a weight or a maximum is not finite.
   */
  trainLtdb(
    weight: Float32Array,
    outFeatures: number,
    inFeatures: number,
    absMax: Float32Array,
    weightMaximum: Float32Array | null,
    options: {
      epsilon: number;
      training: 'start' | 'trained';
      learningRate: number;
      maximumEpochs: number;
      loss: 'l2' | 'l1';
      blockSize: number;
    },
  ): {
    /** T, `[in]`; may be negative. */
    scale: Float32Array;
    /** L_DTNP of each epoch, one array a block. */
    lossCurves: Float32Array[];
    /** Epochs run, a block. */
    epochs: Int32Array;
    stoppedEarly: Uint8Array;
    keptStart: Uint8Array;
  };

  /**
   * Uniform grid or one bit with mean, with error compensation (method.md sections 2 and 4). `factor` is U or null (then plain rounding, whatever `compensation` says).
   * bits 1: per row and block mean ± mean|w − mean|. bits > 1: a grid from the block's least to its greatest weight (0 is not forced into the range), of W as updated
   * when the block begins. Scales and offsets are rounded to fp16 before codes are chosen, so the codes are the best for what is stored. Constant and zero groups come back exactly (within fp16).
   * Throws where a weight is, or by compensation becomes, not finite; the message names the row.
   */
  quantizeUniform(
    weight: Float32Array,
    outFeatures: number,
    inFeatures: number,
    factor: Float32Array | null,
    options: { bits: number; compensation: 'none' | 'reference' | 'block' | 'column'; blockSize: number },
  ): {
    codes: Uint8Array;
    scales: Uint16Array;
    offsets: Uint16Array;
    /** Scales and offsets that did not fit fp16 and were cut to ±65504; not 0 is worth a note in the layer's report. */
    saturatedValues: number;
  };

  /**
   * BiLLM's structured binarization (method.md section 2); codes, levels and mask as in quantize/quantized-linear.ts. Without a factor U_jj counts as 1.
   * Salient columns: 1 … min(maximumSalientColumns, width − 1) of a block, none in a block of one column. sign(0) = +1. Scales are mean deviations from the mean as
   * stored; codes are chosen with the levels as stored. With `column` compensation an ordinary weight, moved since the split, takes the nearest of both groups' levels.
   * `weighted-weight` weighs column j by 1 / U_jj² (with `magnitude` importance: all the same). Throws as quantizeUniform does.
   */
  quantizeStructured(
    weight: Float32Array,
    outFeatures: number,
    inFeatures: number,
    factor: Float32Array | null,
    options: {
      importance: 'hessian' | 'magnitude';
      searchOn: 'importance' | 'weight' | 'weighted-weight';
      maximumSalientColumns: number;
      splitPercentiles: { first: number; last: number; count: number };
      percentilesOver: 'all-with-zeros' | 'non-salient';
      compensation: 'none' | 'reference' | 'block' | 'column';
      blockSize: number;
    },
  ): {
    codes: Uint8Array;
    levels: Uint16Array;
    salientColumns: Uint8Array;
    /** Levels that did not fit fp16 and were cut to ±65504. */
    saturatedValues: number;
  };

  /**
   * Embedding or head `[rows, columns]` at 4 or 6 bits in groups of 32 columns (method.md section 9): without a metric rounding at the scale of least squared error; with M
   * `[columns, columns]` (symmetric, positive definite) and U (M⁻¹ = UᵀU; null: rounding) a start from left to right, then `sweeps` sweeps of coordinate descent over codes and
   * scales. Rows do not depend on each other. `firstOverflow` is the index of the first value that is not finite or too large for an fp16 scale, or −1; then the rest is empty.
   * Throws where compensation made a row infinite.
   */
  quantizeTable(
    table: Float32Array,
    rows: number,
    columns: number,
    metric: Float32Array | null,
    factor: Float32Array | null,
    options: { bits: 6 | 4; sweeps: number },
  ): {
    /** code + 2^(bits − 1), `[rows, columns]`. */
    codes: Uint8Array;
    /** fp16 bits, `[rows, ceil(columns / 32)]`; a scale may be negative. */
    scales: Uint16Array;
    /** tr(E M Eᵀ) with E = W − Ŵ, and tr(W M Wᵀ); 0 without a metric. */
    metricError: number;
    metricNorm: number;
    /** ‖E‖², ‖W‖². */
    squaredError: number;
    squaredNorm: number;
    /** Scales that were cut to ±65504. */
    saturatedValues: number;
    firstOverflow: number;
  };

  /** Float32 weights of a grid linear from what is stored (quantize/quantized-linear.ts), `[out, in]`. */
  dequantizeGrid(
    codes: Uint8Array,
    scales: Uint16Array,
    offsets: Uint16Array | null,
    levels: number,
    outFeatures: number,
    inFeatures: number,
    /** Columns of a block; 128 where it is left out. */
    blockSize?: number,
  ): Float32Array;

  /** Float32 weights of a structured linear from what is stored, `[out, in]`. */
  dequantizeStructured(
    codes: Uint8Array,
    levels: Uint16Array,
    salientColumns: Uint8Array,
    outFeatures: number,
    inFeatures: number,
    blockSize?: number,
  ): Float32Array;

  /**
   * The weight that a layer should have so that it best gives the wanted outputs from its inputs: W̃ = (P + λW)(H + λI)⁻¹, `[out, in]`, solved in float64.
   * `weight` W `[out, in]`; `crossProduct` P = Σ w y* xᵀ `[out, in]` (shifted targets: W · Σ w x_fp xᵀ); `hessian` H = Σ w x xᵀ `[in, in]` in the same units as P, undamped, its lower triangle read;
   * λ = damping · mean diagonal of H. Where H + λI is not positive definite the damping is raised tenfold up to `maximumDamping`; then `target` is null. An H of zeros gives W.
   * Throws where a value is not finite.
   */
  solveTargets(
    weight: Float32Array,
    crossProduct: Float32Array | Float64Array,
    hessian: Float64Array,
    outFeatures: number,
    inFeatures: number,
    options: { damping: number; maximumDamping: number },
  ): { target: Float32Array | null; dampingUsed: number };

  /**
   * Fits a grid with scales of rows and columns to a target under H (docs/method.md, section 8): Ŵ_ij = c_j · r_{i,block(j)} · (q_ij − (levels − 1)/2) with the least
   * tr((W̃ − Ŵ) H (W̃ − Ŵ)ᵀ). The start is GPTQ's pass with a scale searched for around the weighted mean absolute value; each round solves for r, c and r again in closed form and
   * runs `sweeps` sweeps of coordinate descent over the codes; then r is rounded to fp16 and one more sweep runs with the values as stored.
   * r and c are never negative. Rows of zeros stay exactly zero; a column with H_jj = 0 is fitted by the damping alone.
   *
   * `target` W̃ `[out, in]`, the rows of all linears that share c stacked; `hessian` H `[in, in]`, undamped, symmetric (lower triangle read).
   * Throws where a target is not finite or beyond ±1e15, or H is not finite.
   */
  fitGrid(
    target: Float32Array,
    hessian: Float64Array,
    outFeatures: number,
    inFeatures: number,
    options: GridFitOptions,
  ): GridFit;

  /** tr((W−Q) H (W−Q)ᵀ), tr(W H Wᵀ), ‖W−Q‖², ‖W‖² in float64. */
  layerErrors(
    weight: Float32Array,
    quantized: Float32Array,
    hessian: Float64Array,
    outFeatures: number,
    inFeatures: number,
  ): { weightedError: number; weightedNorm: number; squaredError: number; squaredNorm: number };

  /** The product of a float32 matrix `[rows, inner]` and a float64 one `[inner, columns]` in float64, `[rows, columns]`. */
  multiply(
    left: Float32Array,
    right: Float64Array,
    rows: number,
    inner: number,
    columns: number,
  ): Float64Array;

  /** `accumulator[k] += addend[k]` in float64. */
  addToFloat64(accumulator: Float64Array, addend: Float32Array): void;

  /** `generic`, `avx2` or `avx512`: what the loops were compiled for. Results are the same bytes with each; DBELL_FORCE_ISA chooses one. */
  numericsInstructionSet(): string;
}

export const numerics = loadAddon() as NativeNumerics;
