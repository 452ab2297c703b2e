import type { KeyValueCache } from '../../../contract/common.ts';

// How keys and values lie in the cache: a word each as float32, two in a word as float16.

/** Words of the keys, or of the values, of one position. */
export function cacheWords(cache: KeyValueCache, width: number): number {
  return cache === 'f16' ? Math.ceil(width / 2) : width;
}

/** Values that a position's words have room for. */
export function cacheWidth(cache: KeyValueCache, width: number): number {
  return cache === 'f16' ? 2 * cacheWords(cache, width) : width;
}

export const cacheElement = (cache: KeyValueCache): 'u32' | 'f32' => (cache === 'f16' ? 'u32' : 'f32');

/**
 * `to_half(x)`: the bits of the nearest float16, ties to even, as the CPU rounds (engine/native/src/common/half.h); WGSL's own conversion may round either way. `beyond_half(x)`
 * says whether a finite x becomes infinite.
 */
export const toHalf = `
fn beyond_half(x: f32) -> bool {
  let magnitude = bitcast<u32>(x) & 0x7fffffffu;
  return magnitude >= 0x477ff000u && magnitude < 0x7f800000u;
}
fn to_half(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  let sign = (bits >> 16u) & 0x8000u;
  let magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) { return sign | 0x7e00u; }
  if (magnitude >= 0x477ff000u) { return sign | 0x7c00u; }
  if (magnitude < 0x33000001u) { return sign; }
  var kept = (magnitude - 0x38000000u) >> 13u;
  var rest = magnitude & 0x1fffu;
  var half_way = 0x1000u;
  if (magnitude < 0x38800000u) {
    let shift = 126u - (magnitude >> 23u);
    let mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    kept = mantissa >> shift;
    rest = mantissa & ((1u << shift) - 1u);
    half_way = 1u << (shift - 1u);
  }
  if (rest > half_way || (rest == half_way && (kept & 1u) == 1u)) { kept += 1u; }
  return sign | kept;
}`;

/** `from_half(bits)` of a float16, exact: WGSL's own conversion may take the smallest ones, below 2⁻¹⁴, for zero. */
export const fromHalf = `
fn from_half(half: u32) -> f32 {
  let magnitude = half & 0x7fffu;
  var bits = (magnitude << 13u) + 0x38000000u;
  if (magnitude >= 0x7c00u) { bits += 0x38000000u; }
  if (magnitude < 0x400u) { bits = bitcast<u32>(f32(magnitude) * 5.9604644775390625e-8); }
  return bitcast<f32>(bits | ((half & 0x8000u) << 16u));
}`;

/** `cached_key(at)` and `cached_value(at)`: value `at` of the buffers `keys` and `values`. */
export function cacheReads(cache: KeyValueCache): string {
  const read = (name: string, buffer: string) =>
    cache === 'f16'
      ? `
fn ${name}(at: u32) -> f32 { return from_half((${buffer}[at / 2u] >> (16u * (at % 2u))) & 0xffffu); }`
      : `
fn ${name}(at: u32) -> f32 { return ${buffer}[at]; }`;
  return `${cache === 'f16' ? fromHalf : ''}${read('cached_key', 'keys')}${read('cached_value', 'values')}`;
}
