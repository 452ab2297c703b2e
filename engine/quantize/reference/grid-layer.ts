import { inverseCholeskyFactor } from './cholesky.ts';

/**
 * Fitting a grid with scales of rows and columns under H (docs/method.md, section 8): what the steps share. Plain and slow; float32 arithmetic in the order of the native
 * code, so that results can be compared bit by bit.
 */

export const float = Math.fround;

/** Terms after which the native product brings its partial sums into the result (engine/native/src/numerics/loops/product.cpp). */
const productDepth = 128;
/** Rows after which the native code adds up its partial sums. */
export const rowsPerTask = 32;

/** Columns that share one r a row. */
export interface GridBlock {
  first: number;
  width: number;
  levels: number;
}

/** H scaled to a mean diagonal of 1 and damped, and U with H⁻¹ = UᵀU in float32. */
export interface GridMetric {
  hessian: Float32Array;
  factor: Float32Array | null;
  lossScale: number;
}

export interface GridLayer {
  target: Float32Array;
  outFeatures: number;
  inFeatures: number;
  /** inFeatures and the residual columns. */
  columns: number;
  /** The input column that each column of the grid stands for, `[columns]`. */
  source: number[];
  blocks: GridBlock[];
  /** H + P `[columns, columns]`, and H_jj without P `[in]`. */
  hessian: Float32Array;
  diagonal: Float32Array;
  /** P `[in]`. */
  penalty: Float32Array;
  /** q `[out, columns]`, r `[out, blocks]`, c `[columns]`. */
  codes: Uint8Array;
  rowScale: Float32Array;
  columnScale: Float32Array;
  /** W̃H `[out, columns]`. */
  targetProduct: Float32Array;
}

/** An element of a typed array, which is there. */
export const at = (array: ArrayLike<number>, index: number): number => array[index] as number;

/** H damped and scaled in float64 `[size, size]`, then rounded; for H of more than 128 columns a factor computed in the native order may be given. */
export function gridMetric(hessian: Float64Array, size: number, damping: number): GridMetric {
  let mean = 0;
  for (let j = 0; j < size; j++) mean += at(hessian, j * size + j) / size;
  const damped = new Float64Array(size * size);
  for (let i = 0; i < size; i++)
    for (let j = 0; j < size; j++) {
      const value = at(hessian, Math.max(i, j) * size + Math.min(i, j));
      damped[i * size + j] = mean > 0 ? (1 / mean) * value : 0;
      if (i === j && mean > 0)
        damped[i * size + i] = value === 0 ? Math.max(damping, 1e-6) : at(damped, i * size + i) + damping;
      if (i === j && mean === 0) damped[i * size + i] = 1;
    }
  const factor = inverseCholeskyFactor(damped, size, 0);
  return {
    hessian: Float32Array.from(damped),
    factor: factor && Float32Array.from(factor),
    lossScale: mean > 0 ? mean : 1,
  };
}

/** result + Σ_k a(k) · b(k), as the native product sums. */
export function addProduct(
  result: number,
  count: number,
  a: (k: number) => number,
  b: (k: number) => number,
): number {
  let total = result;
  for (let start = 0; start < count; start += productDepth) {
    let sum = 0;
    for (let k = start; k < Math.min(start + productDepth, count); k++) sum = float(sum + float(a(k) * b(k)));
    total = float(total + sum);
  }
  return total;
}

/** s = q − (levels − 1)/2. */
export function gridValue(layer: GridLayer, row: number, block: GridBlock, column: number): number {
  return at(layer.codes, row * layer.columns + column) - (block.levels - 1) / 2;
}

/** The nearest code; halves go up. */
export function nearestCode(position: number, levels: number): number {
  return Math.trunc(float(Math.min(Math.max(position, 0), levels - 1) + 0.5));
}

/** Ŵ of one row, `[columns]`, and what it sums to for each input column. */
export function quantizedRow(layer: GridLayer, row: number): Float32Array {
  const result = new Float32Array(layer.columns);
  layer.blocks.forEach((block, b) => {
    const scale = at(layer.rowScale, row * layer.blocks.length + b);
    for (let j = block.first; j < block.first + block.width; j++)
      result[j] = float(float(scale * at(layer.columnScale, j)) * gridValue(layer, row, block, j));
  });
  return result;
}

/** L of a symmetric matrix given by its lower triangle, then x of L Lᵀ x = right; null where it is not positive definite. */
export function solveSymmetric(matrix: Float64Array, right: Float64Array): Float64Array | null {
  const size = right.length;
  const lower = new Float64Array(size * size);
  for (let i = 0; i < size; i++)
    for (let j = 0; j <= i; j++) {
      let sum = at(matrix, i * size + j);
      for (let k = 0; k < j; k++) sum -= at(lower, i * size + k) * at(lower, j * size + k);
      if (i !== j) lower[i * size + j] = sum / at(lower, j * size + j);
      else if (sum > 0 && Number.isFinite(sum)) lower[i * size + i] = Math.sqrt(sum);
      else return null;
    }
  const x = right.slice();
  for (let i = 0; i < size; i++) {
    for (let k = 0; k < i; k++) x[i] = at(x, i) - at(lower, i * size + k) * at(x, k);
    x[i] = at(x, i) / at(lower, i * size + i);
  }
  for (let i = size - 1; i >= 0; i--) {
    x[i] = at(x, i) / at(lower, i * size + i);
    for (let k = 0; k < i; k++) x[k] = at(x, k) - at(lower, i * size + k) * at(x, i);
  }
  return x;
}
