/**
 * Widening of stored element types to float32. Everything here is exact except F64, which is rounded to the nearest float32 (beyond its range: Inf,
 * which the reader refuses like any other). Multi-byte values are little-endian, as in both file formats and on every supported host.
 */

const f16Table = makeF16Table();

/** All 65,536 half-precision values as float32. */
function makeF16Table(): Float32Array {
  const table = new Float32Array(65_536);
  for (let bits = 0; bits < 65_536; bits++) table[bits] = halfToNumber(bits);
  return table;
}

/** IEEE 754 binary16 to a number; exact. */
export function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Half-precision value by its bits, from the table. */
export function half(bits: number): number {
  return f16Table[bits]!;
}

/** Widens `source` (elements in file order) into `target[begin …]`. */
export type Widen = (source: Uint8Array, target: Float32Array, begin: number) => void;

export const widenF32: Widen = (source, target, begin) => {
  new Uint8Array(target.buffer, target.byteOffset + begin * 4, source.length).set(source);
};

export const widenF16: Widen = (source, target, begin) => {
  const n = source.length >> 1;
  for (let i = 0; i < n; i++) target[begin + i] = f16Table[source[2 * i]! | (source[2 * i + 1]! << 8)]!;
};

export const widenBF16: Widen = (source, target, begin) => {
  const n = source.length >> 1;
  const bits = new Uint32Array(target.buffer, target.byteOffset + begin * 4, n);
  for (let i = 0; i < n; i++) bits[i] = ((source[2 * i]! << 16) | (source[2 * i + 1]! << 24)) >>> 0;
};

export const widenF64: Widen = (source, target, begin) => {
  const view = new DataView(source.buffer, source.byteOffset, source.length);
  const n = source.length >> 3;
  for (let i = 0; i < n; i++) target[begin + i] = view.getFloat64(8 * i, true);
};
