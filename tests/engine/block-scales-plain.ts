import { packing } from '../../engine/native/packing.ts';
import { blockCount, columnsPerBlock, type QuantizedLinear } from '../../engine/quantize/quantized-linear.ts';
import {
  maskedSums,
  type QuantizedActivations,
  quantizeTokens,
} from '../../scripts/acceptance/agreement-plain.ts';

// What steps by token and block mean, in plain float32 from the codes themselves.

/** Rounds x `[tokens, width]` with a step for each token and 128 columns; `scales` `[tokens, blocks]`. */
export function quantizeTokenBlocks(x: Float32Array, width: number, bits: number): QuantizedActivations {
  const blocks = blockCount(width);
  const tokens = x.length / width;
  const values = new Int8Array(x.length);
  const scales = new Float32Array(tokens * blocks);
  for (let index = 0; index < tokens * blocks; index++) {
    const token = Math.floor(index / blocks);
    const first = token * width + (index % blocks) * columnsPerBlock;
    const part = x.subarray(first, Math.min(first + columnsPerBlock, (token + 1) * width));
    const rounded = quantizeTokens(part, part.length, bits);
    values.set(rounded.values, first);
    scales[index] = rounded.scales[0]!;
  }
  return { values, scales };
}

/**
 * y `[tokens, out]` of a grid linear without residual for input rounded by block: ½ · Σ_b ((r·integer)·s [+ (m·2X)·s]), times the row scale where there is one, plus bias; every
 * operation rounded to float32, blocks in order.
 */
export function blockScaledProducts(
  linear: QuantizedLinear & { layout: 'grid' },
  { values, scales }: QuantizedActivations,
): Float32Array {
  const { outFeatures, inFeatures, bias, rowScale } = linear;
  const blocks = blockCount(inFeatures);
  const r = packing.halfsToFloats(linear.scales);
  const m = linear.offsets ? packing.halfsToFloats(linear.offsets) : null;
  const integers = maskedSums(values, linear);
  const y = new Float32Array((values.length / inFeatures) * outFeatures);
  const { fround } = Math;
  for (let index = 0; index < y.length; index++) {
    const token = Math.floor(index / outFeatures);
    const out = index % outFeatures;
    let sum = 0;
    for (let block = 0; block < blocks; block++) {
      const step = scales[token * blocks + block]!;
      const at = out * blocks + block;
      sum = fround(sum + fround(fround(r[at]! * fround(integers[index * blocks + block]!)) * step));
      if (!m) continue;
      const end = Math.min(columnsPerBlock * (block + 1), inFeatures);
      const part = values.subarray(token * inFeatures + columnsPerBlock * block, token * inFeatures + end);
      const blockSum = part.reduce((total, value) => total + value, 0);
      sum = fround(sum + fround(fround(m[at]! * fround(2 * blockSum)) * step));
    }
    const half = fround(0.5 * sum);
    y[index] = (rowScale ? fround(half * rowScale[out]!) : half) + (bias?.[out] ?? 0);
  }
  return y;
}
