import { packing } from '../../engine/native/packing.ts';
import { blockCount, type QuantizedLinear } from '../../engine/quantize/quantized-linear.ts';

/** ‖a − b‖ / ‖b‖ in float64. */
export function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`${a.length} values against ${b.length}`);
  let difference = 0;
  let norm = 0;
  for (let index = 0; index < a.length; index += 1) {
    difference += (a[index]! - b[index]!) ** 2;
    norm += b[index]! ** 2;
  }
  return Math.sqrt(difference / norm);
}

export function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let index = 0; index < values.length; index += 1) sum += values[index]!;
  return sum / values.length;
}

/** Float weights `[out, in]` by the definition in quantize/quantized-linear.ts, column scale multiplied in; float32 arithmetic in its order. */
export function dequantizedPlainly(linear: QuantizedLinear): Float32Array {
  const { inFeatures, outFeatures, codes, columnScale } = linear;
  const residual = linear.layout === 'grid' ? linear.residual : null;
  const residualScales = residual ? packing.halfsToFloats(residual.scales) : null;
  const gathered = new Map([...(residual?.columns ?? [])].map((column, index) => [column, index]));
  const blocks = blockCount(inFeatures);
  const round = Math.fround;
  const values = packing.halfsToFloats(linear.layout === 'grid' ? linear.scales : linear.levels);
  const offsets = linear.layout === 'grid' && linear.offsets ? packing.halfsToFloats(linear.offsets) : null;
  return Float32Array.from({ length: outFeatures * inFeatures }, (_, index) => {
    const column = index % inFeatures;
    const at = Math.floor(index / inFeatures) * blocks + Math.floor(column / 128);
    const code = codes[index]!;
    const scale = columnScale?.[column] ?? 1;
    if (linear.layout === 'grid') {
      let weight = round(values[at]! * (code - (linear.levels - 1) / 2));
      if (offsets) weight = round(weight + offsets[at]!);
      const k = gathered.get(column);
      if (residual && residualScales && k !== undefined) {
        const row = Math.floor(index / inFeatures);
        const residualScale =
          residualScales[row * blockCount(residual.columns.length) + Math.floor(k / 128)]!;
        const residualCode = residual.codes[row * residual.columns.length + k]!;
        weight = round(weight + round(residualScale * (residualCode - 0.5)));
      }
      if (linear.rowScale) weight = round(weight * linear.rowScale[Math.floor(index / inFeatures)]!);
      return scale * weight;
    }
    const [mean0, scale0, mean1, scale1, salientMean, first, second] = values.subarray(7 * at, 7 * at + 7);
    const signed = (value: number, isPlus: number): number => (isPlus ? value : -value);
    if (linear.salientColumns[column])
      return scale * round(round(salientMean! + signed(first!, code & 1)) + signed(second!, code & 2));
    return scale * round(code & 2 ? mean1! + signed(scale1!, code & 1) : mean0! + signed(scale0!, code & 1));
  });
}
