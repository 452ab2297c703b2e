import { numerics } from '../native/numerics.ts';
import type { GridResidual, QuantizedLinear } from './quantized-linear.ts';

/** Float32 weights of a linear from what is stored, without its column scale, `[out, in]`. */
export function dequantize(linear: QuantizedLinear): Float32Array {
  const { outFeatures, inFeatures } = linear;
  if (linear.layout === 'structured')
    return numerics.dequantizeStructured(
      linear.codes,
      linear.levels,
      linear.salientColumns,
      outFeatures,
      inFeatures,
    );
  const weights = numerics.dequantizeGrid(
    linear.codes,
    linear.scales,
    linear.offsets,
    linear.levels,
    outFeatures,
    inFeatures,
  );
  if (linear.residual !== null) addResidual(weights, linear.residual, outFeatures, inFeatures);
  if (linear.rowScale) multiplyRows(weights, linear.rowScale, inFeatures);
  return weights;
}

function multiplyRows(weights: Float32Array, rowScale: Float32Array, inFeatures: number): void {
  for (let index = 0; index < weights.length; index += 1)
    weights[index] = (weights[index] ?? 0) * (rowScale[Math.floor(index / inFeatures)] ?? 1);
}

/** The residual is a linear of its own over the gathered columns; its values are added, rounded to float32, where its columns stand. */
function addResidual(
  weights: Float32Array,
  { columns, codes, scales, levels }: GridResidual,
  outFeatures: number,
  inFeatures: number,
): void {
  const count = columns.length;
  const values = numerics.dequantizeGrid(codes, scales, null, levels, outFeatures, count);
  for (let row = 0; row < outFeatures; row += 1) {
    for (let index = 0; index < count; index += 1) {
      const at = row * inFeatures + (columns[index] ?? 0);
      weights[at] = (weights[at] ?? 0) + (values[row * count + index] ?? 0);
    }
  }
}
