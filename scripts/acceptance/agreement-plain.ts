/**
 * The plainest forms of what the packed runtime computes: slow, float64 where nothing says otherwise, written from the format's definition (docs/format.md)
 * and from the codes themselves, not from the kernels.
 */
import type { ActivationScales } from '../../engine/float/types.ts';
import { dequantize } from '../../engine/quantize/dequantize.ts';
import {
  blockCount,
  columnsPerBlock,
  type GridResidual,
  type QuantizedLinear,
} from '../../engine/quantize/quantized-linear.ts';

/** x̂ `[tokens, in]` and s `[tokens]`, or `[tokens, blocks]`. */
export interface QuantizedActivations {
  values: Int8Array;
  scales: Float32Array;
}

/** c ∘ x, each product rounded to float32; x `[tokens, in]`, c `[in]` or null. */
export function scaleColumns(x: Float32Array, columnScale: Float32Array | null): Float32Array {
  if (!columnScale) return x;
  const width = columnScale.length;
  return x.map((value, index) => value * columnScale[index % width]!);
}

/**
 * Symmetric absmax rounding of each token, or each block of its columns: s = max|x| / (2^(bits − 1) − 1), 1 where that is 0; x̂ = x / s to the nearest integer,
 * ties to even; quotients in float32.
 */
export function quantizeTokens(
  x: Float32Array,
  width: number,
  bits: number,
  sharing: ActivationScales = 'token',
): QuantizedActivations {
  const values = new Int8Array(x.length);
  const scales: number[] = [];
  const together = sharing === 'block' ? columnsPerBlock : width;
  for (let token = 0; token < x.length; token += width)
    for (let begin = token; begin < token + width; begin += together) {
      const part = x.subarray(begin, Math.min(token + width, begin + together));
      let largest = 0;
      for (const value of part) largest = Math.max(largest, Math.abs(value));
      const scale = Math.fround(largest / (2 ** (bits - 1) - 1)) || 1;
      scales.push(scale);
      for (const [index, value] of part.entries())
        values[begin + index] = roundHalfEven(Math.fround(value / scale));
    }
  return { values, scales: Float32Array.from(scales) };
}

function roundHalfEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

/** x̂ · s in float32, as the float path has it: `[tokens, in]`. */
export function dequantizeTokens({ values, scales }: QuantizedActivations, width: number): Float32Array {
  const steps = scales.length / (values.length / width);
  const together = steps === 1 ? width : columnsPerBlock;
  return Float32Array.from(values, (value, index) => {
    const step = Math.floor((index % width) / together);
    return value * scales[Math.floor(index / width) * steps + step]!;
  });
}

/** y `[tokens, out]` = x Wᵀ + bias, summed in float64, W dequantized, without the column scale. */
export function multiply(x: Float32Array, linear: QuantizedLinear): Float64Array {
  const { inFeatures, outFeatures, bias } = linear;
  const weight = dequantize(linear);
  const tokens = x.length / inFeatures;
  const y = new Float64Array(tokens * outFeatures);
  for (let token = 0; token < tokens; token++) {
    const row = x.subarray(token * inFeatures, (token + 1) * inFeatures);
    for (let out = 0; out < outFeatures; out++) {
      let sum = 0;
      const first = out * inFeatures;
      for (let column = 0; column < inFeatures; column++) sum += weight[first + column]! * row[column]!;
      y[token * outFeatures + out] = sum + (bias?.[out] ?? 0);
    }
  }
  return y;
}

/**
 * The integers of the masked sums from the codes. Grid: 2·Σ q·x̂ − (levels − 1)·Σ x̂, `[tokens, out, blocks, 1]`. Structured: Σ x̂ where bit 0 is set, where bit 1
 * is, where both are, over the ordinary columns and then over the salient ones, `[tokens, out, blocks, 6]`.
 */
export function maskedSums(values: Int8Array, linear: QuantizedLinear): Int32Array {
  const { inFeatures, outFeatures, codes } = linear;
  const tokens = values.length / inFeatures;
  const blocks = blockCount(inFeatures);
  const sumsPerBlock = linear.layout === 'grid' ? 1 : 6;
  const result = new Int32Array(tokens * outFeatures * blocks * sumsPerBlock);
  for (let token = 0; token < tokens; token++)
    for (let out = 0; out < outFeatures; out++)
      for (let column = 0; column < inFeatures; column++) {
        const value = values[token * inFeatures + column]!;
        const code = codes[out * inFeatures + column]!;
        const block = Math.floor(column / columnsPerBlock);
        const at = ((token * outFeatures + out) * blocks + block) * sumsPerBlock;
        if (linear.layout === 'grid') {
          result[at]! += (2 * code - (linear.levels - 1)) * value;
          continue;
        }
        const set = at + (linear.salientColumns[column] === 1 ? 3 : 0);
        if (code & 1) result[set]! += value;
        if (code & 2) result[set + 1]! += value;
        if (code === 3) result[set + 2]! += value;
      }
  return result;
}

/** The same of a grid linear's residual columns: 2·Σ q′·x̂ − Σ x̂ over the gathered columns, `[tokens, out, ceil(count / 128)]`. */
export function residualSums(
  values: Int8Array,
  { inFeatures, outFeatures }: QuantizedLinear,
  residual: GridResidual,
): Int32Array {
  const { columns, codes } = residual;
  const tokens = values.length / inFeatures;
  const blocks = blockCount(columns.length);
  const result = new Int32Array(tokens * outFeatures * blocks);
  for (let token = 0; token < tokens; token++)
    for (let out = 0; out < outFeatures; out++)
      for (const [k, column] of columns.entries()) {
        const value = values[token * inFeatures + column]!;
        const at = (token * outFeatures + out) * blocks + Math.floor(k / columnsPerBlock);
        result[at]! += codes[out * columns.length + k] === 1 ? value : -value;
      }
  return result;
}

/** ‖a − b‖ / ‖b‖ in float64; 0 where both are zero, infinite where only b is or where a is not finite. */
export function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`${a.length} values against ${b.length}`);
  let difference = 0;
  let norm = 0;
  for (let index = 0; index < a.length; index++) {
    difference += (a[index]! - b[index]!) ** 2;
    norm += b[index]! ** 2;
  }
  if (difference === 0) return 0;
  const error = Math.sqrt(difference / norm);
  return Number.isNaN(error) ? Number.POSITIVE_INFINITY : error;
}

/** How many elements differ. */
export function differences(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`${a.length} values against ${b.length}`);
  let count = 0;
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) count++;
  return count;
}
