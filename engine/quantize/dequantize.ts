import { numerics } from '../native/numerics.ts';
import type { QuantizedLinear } from './quantized-linear.ts';

/** Float32 weights of a linear from what is stored, without its column scale, `[out, in]`. */
export function dequantize(linear: QuantizedLinear): Float32Array {
  const { outFeatures, inFeatures } = linear;
  return linear.layout === 'grid'
    ? numerics.dequantizeGrid(
        linear.codes,
        linear.scales,
        linear.offsets,
        linear.levels,
        outFeatures,
        inFeatures,
      )
    : numerics.dequantizeStructured(
        linear.codes,
        linear.levels,
        linear.salientColumns,
        outFeatures,
        inFeatures,
      );
}
