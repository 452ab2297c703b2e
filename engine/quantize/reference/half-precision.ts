/** IEEE 754 binary16, written for reading; the native code must give the same bits (engine/native/src/common/half.h). */

export const largestHalf = 65504;

/** The value of 16 stored bits. Exact. */
export function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  if (exponent === 0x1f) return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1024 + mantissa) * 2 ** (exponent - 25);
}

/** Nearest fp16 to a value, ties to the even mantissa; infinity where it does not fit. */
export function numberToHalf(value: number): number {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (magnitude >= 65520) return sign | 0x7c00;
  // Spacing of fp16 around the magnitude: 2^-24 for subnormals and the smallest normals, then ten bits below the leading one.
  const exponent = Math.max(-14, Math.floor(Math.log2(magnitude || 2 ** -30)));
  const exact = 2 ** exponent > magnitude && exponent > -14 ? exponent - 1 : exponent;
  const spacing = 2 ** (exact - 10);
  const steps = magnitude / spacing;
  const below = Math.floor(steps);
  const rest = steps - below;
  const rounded = rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
  // `rounded` counts spacings; 1024 of them are the leading one of a normal number, so exponent and mantissa add up.
  return sign | (rounded + (exact + 14) * 1024);
}

/** As stored by the quantizers: cut to ±65504 where it does not fit, −0 as +0. */
export function storedHalf(value: number): number {
  if (!(value < 65520 && value > -65520)) return numberToHalf(value < 0 ? -largestHalf : largestHalf);
  return numberToHalf(value + 0);
}
