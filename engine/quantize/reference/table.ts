import { halfToNumber, storedHalf } from './half-precision.ts';

/**
 * Embedding and head tables of 6 and 4 bits (docs/method.md, section 9): W ≈ scale · code in groups of 32 columns, codes −2^(b−1) … 2^(b−1) − 1, scales of either sign. Plain and
 * slow, float32 arithmetic in the order of the native code.
 */

const float = Math.fround;
const groupWidth = 32;
/** Scales that the search tries, as parts of the one that maps the largest weight to the lowest code. */
const candidates = Array.from({ length: 21 }, (_, index) => float(float(0.6) + float(float(0.025) * index)));
/** Products are summed in strips of this many terms (numerics/loops/product.cpp). */
const stripDepth = 128;

const at = (values: Float32Array, index: number): number => values[index] as number;

/** The nearest code to a weight of `position` scales; 0 where the scale is 0. */
export function nearestCode(position: number, scale: number, bits: number): number {
  const half = 2 ** (bits - 1);
  if (scale === 0) return 0;
  return Math.floor(float(Math.min(Math.max(position, -half), half - 1) + (half + 0.5))) - half;
}

/** The candidate of least weighted squared error after rounding, the first of equal ones. */
export function bestScale(weights: Float32Array, columnWeights: Float32Array, bits: number): number {
  let largest = 0;
  for (const weight of weights) if (Math.abs(weight) > Math.abs(largest)) largest = weight;
  const base = float(largest / -(2 ** (bits - 1)));
  let best = 0;
  let bestError = Number.POSITIVE_INFINITY;
  candidates.forEach((part, candidate) => {
    const scale = halfToNumber(storedHalf(float(base * part)));
    let error = 0;
    weights.forEach((weight, j) => {
      const code = nearestCode(float(weight / scale), scale, bits);
      const difference = float(weight - float(scale * code));
      error = float(error + float(float(difference * difference) * at(columnWeights, j)));
    });
    if (candidate === 0 || error < bestError) {
      best = scale;
      bestError = error;
    }
  });
  return best;
}

/** target[j] −= Σ_k a_k · M[first + k][j] for j ≥ begin, in strips. */
function subtractProduct(
  target: Float32Array,
  a: Float32Array,
  matrix: Float32Array,
  first: number,
  begin: number,
): void {
  const columns = target.length;
  for (let strip = 0; strip < a.length; strip += stripDepth)
    for (let j = begin; j < columns; j++) {
      let sum = 0;
      for (let k = strip; k < Math.min(strip + stripDepth, a.length); k++)
        sum = float(sum + float(at(a, k) * at(matrix, (first + k) * columns + j)));
      target[j] = float(at(target, j) - sum);
    }
}

/** One row under quantization. */
interface Row {
  weights: Float32Array;
  /** Codes, not offset. */
  codes: Float32Array;
  scales: Float32Array;
}

/** Group by group from left to right: the best scale, rounding, and with U the error passed on to the columns behind. */
function startRow(row: Row, bits: number, metric: Float32Array | null, factor: Float32Array | null): void {
  const columns = row.weights.length;
  const current = Float32Array.from(row.weights);
  for (let first = 0; first < columns; first += groupWidth) {
    const width = Math.min(groupWidth, columns - first);
    const group = current.subarray(first, first + width);
    const diagonal = (matrix: Float32Array, j: number) => at(matrix, (first + j) * columns + first + j);
    const columnWeights = Float32Array.from({ length: width }, (_, j) =>
      factor !== null
        ? float(1 / float(diagonal(factor, j) * diagonal(factor, j)))
        : metric !== null
          ? diagonal(metric, j)
          : 1,
    );
    const scale = bestScale(group, columnWeights, bits);
    row.scales[first / groupWidth] = scale;
    const errors = new Float32Array(width);
    for (let j = 0; j < width; j++) {
      const code = nearestCode(float(at(group, j) / scale), scale, bits);
      row.codes[first + j] = code;
      if (factor === null) continue;
      const error = float(float(at(group, j) - float(scale * code)) / diagonal(factor, j));
      errors[j] = error;
      for (let k = j + 1; k < width; k++)
        group[k] = float(at(group, k) - float(error * at(factor, (first + j) * columns + first + k)));
    }
    if (factor !== null) subtractProduct(current, errors, factor, first, first + width);
  }
}

/** Ŵ − W. */
function errorOf(row: Row): Float32Array {
  return row.weights.map((weight, j) =>
    float(float(at(row.scales, Math.floor(j / groupWidth)) * at(row.codes, j)) - weight),
  );
}

/** One sweep: in each group every code, then the scale, gets its best value with everything else fixed. `gradient` is (W − Ŵ)M and is kept up to date. */
function sweepRow(row: Row, gradient: Float32Array, bits: number, metric: Float32Array): void {
  const columns = row.weights.length;
  for (let first = 0; first < columns; first += groupWidth) {
    const width = Math.min(groupWidth, columns - first);
    const codes = row.codes.subarray(first, first + width);
    const local = gradient.slice(first, first + width);
    const m = (j: number, k: number) => at(metric, (first + j) * columns + first + k);
    let scale = at(row.scales, first / groupWidth);
    const before = codes.map((code) => float(scale * code));
    for (let j = 0; j < width; j++) {
      const step = float(at(local, j) / float(scale * m(j, j)));
      const next = nearestCode(float(at(codes, j) + step), scale, bits);
      const change = float(scale * (next - at(codes, j)));
      codes[j] = next;
      for (let k = 0; k < width; k++) local[k] = float(at(local, k) - float(change * m(j, k)));
    }
    let a = 0;
    let b = 0;
    for (let j = 0; j < width; j++) {
      let sum = 0;
      for (let k = 0; k < width; k++) sum = float(sum + float(at(codes, k) * m(j, k)));
      a = float(a + float(at(codes, j) * sum));
      b = float(b + float(at(codes, j) * at(local, j)));
    }
    const refined = halfToNumber(storedHalf(float(scale + (a > 0 ? float(b / a) : 0))));
    const difference = float(refined - scale);
    const gain = float(float(float(difference * difference) * a) - float(float(2 * difference) * b));
    if (scale !== 0 && gain < 0) scale = refined;
    row.scales[first / groupWidth] = scale;
    const change = codes.map((code, j) => float(float(scale * code) - at(before, j)));
    subtractProduct(gradient, change, metric, first, 0);
  }
}

/** Codes (offset by 2^(bits − 1)) and fp16 scales, as numerics.quantizeTable gives them. */
export function quantizeTable(
  table: Float32Array,
  rows: number,
  columns: number,
  metric: Float32Array | null,
  factor: Float32Array | null,
  options: { bits: number; sweeps: number },
): { codes: Uint8Array; scales: Uint16Array } {
  const { bits, sweeps } = options;
  const groups = Math.ceil(columns / groupWidth);
  const codes = new Uint8Array(rows * columns);
  const scales = new Uint16Array(rows * groups);
  for (let i = 0; i < rows; i++) {
    const row: Row = {
      weights: table.slice(i * columns, (i + 1) * columns),
      codes: new Float32Array(columns),
      scales: new Float32Array(groups),
    };
    startRow(row, bits, metric, factor);
    if (metric !== null) {
      const gradient = new Float32Array(columns);
      subtractProduct(gradient, errorOf(row), metric, 0, 0);
      for (let sweep = 0; sweep < sweeps; sweep++) sweepRow(row, gradient, bits, metric);
    }
    row.codes.forEach((code, j) => {
      codes[i * columns + j] = code + 2 ** (bits - 1);
    });
    row.scales.forEach((scale, group) => {
      scales[i * groups + group] = storedHalf(scale);
    });
  }
  return { codes, scales };
}
