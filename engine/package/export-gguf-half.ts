import { DBellError } from '../contract/errors.ts';
import { packing } from '../native/packing.ts';
import { dequantize } from '../quantize/dequantize.ts';
import type { QuantizedLinear } from '../quantize/quantized-linear.ts';
import { scaleColumns } from '../quantize/scaled-columns.ts';
import { bytesOf } from './pack-linear.ts';

/** Values as fp16, and by how much that moved the worst of them, relative to its size. */
export interface HalfValues {
  bytes: Uint8Array;
  /** 0 where fp16 holds every value. Values below fp16's smallest normal number, 2⁻¹⁴, are measured against that. */
  largestRounding: number;
}

const smallestNormal = 2 ** -14;

/** @throws DBellError `unsupported-model` where a value exceeds fp16 */
export function halfValues(name: string, values: Float32Array): HalfValues {
  const { halfs, firstOverflow } = packing.floatsToHalfs(values);
  if (firstOverflow !== -1)
    throw new DBellError(
      'unsupported-model',
      `${name} cannot be exported: its value ${values[firstOverflow]} exceeds fp16`,
    );
  const stored = packing.halfsToFloats(halfs);
  let largestRounding = 0;
  for (const [index, value] of values.entries()) {
    const error = Math.abs((stored[index] ?? 0) - value);
    if (error > largestRounding * Math.max(Math.abs(value), smallestNormal))
      largestRounding = error / Math.max(Math.abs(value), smallestNormal);
  }
  return { bytes: bytesOf(halfs), largestRounding };
}

/**
 * A linear of any layout with its column scales multiplied in, as fp16, row by row.
 *
 * @param sourceRow which of our rows stands in a row of the file
 * @throws DBellError `unsupported-model` where a weight exceeds fp16
 */
export function halfLinear(linear: QuantizedLinear, sourceRow: (row: number) => number): HalfValues {
  const { name, outFeatures, inFeatures, columnScale } = linear;
  const dequantized = dequantize(linear);
  const weight = columnScale === null ? dequantized : scaleColumns(dequantized, columnScale);
  const ordered = new Float32Array(weight.length);
  for (let row = 0; row < outFeatures; row += 1) {
    const source = sourceRow(row) * inFeatures;
    ordered.set(weight.subarray(source, source + inFeatures), row * inFeatures);
  }
  return halfValues(name, ordered);
}
