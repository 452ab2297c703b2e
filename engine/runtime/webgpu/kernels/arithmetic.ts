// Float32 arithmetic with one result for each operation, on every device and on the CPU (engine/native/src/kernels/kernel_table.h has the order of the operations). WGSL lets
// a compiler fuse a product with the addition behind it, a device divide and draw roots with errors of some units in the last place, and `exp` be coarser still.

/**
 * `rounded(x)`: x, through a number that no compiler knows, so that a product is rounded before it is added.
 */
export const rounding = `
fn rounded(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) ^ chunk.zero); }`;

/**
 * `quotient(a, b)` for b > 0 and `root(v)`, rounded to nearest. The device's own result is corrected by what it leaves over, a − q·b, which two numbers of 12 bits for each factor
 * make exact (T. J. Dekker, 1971); then the remainder tells on which side of the border to the next float it lies.
 */
export const division = `
fn upper_part(x: f32) -> f32 { return bitcast<f32>((bitcast<u32>(x) + 0x800u) & 0xfffff000u); }
fn left_over(a: f32, q: f32, b: f32) -> f32 {
  let q_high = upper_part(q);
  let q_low = q - q_high;
  let b_high = upper_part(b);
  let b_low = b - b_high;
  return (((a - q_high * b_high) - q_high * b_low) - q_low * b_high) - q_low * b_low;
}
fn half_step(bits: u32) -> f32 { return bitcast<f32>(bits & 0x7f800000u) * 5.9604644775390625e-8; }
fn corrected(result: f32, left: f32, above: f32) -> f32 {
  let bits = bitcast<u32>(result);
  let below = select(above, 0.5 * above, (bits & 0x7fffffu) == 0u);
  if (left > above) { return bitcast<f32>(bits + 1u); }
  if (left < 0.0 && left <= -below) { return bitcast<f32>(bits - 1u); }
  return result;
}
fn quotient(numerator: f32, b: f32) -> f32 {
  let a = abs(numerator);
  var q = a / b;
  q += left_over(a, q, b) / b;
  q = corrected(q, left_over(a, q, b), b * half_step(bitcast<u32>(q)));
  return select(q, -q, numerator < 0.0);
}
fn root(v: f32) -> f32 {
  var r = sqrt(v);
  r += left_over(v, r, r) / (2.0 * r);
  return corrected(r, left_over(v, r, r), 2.0 * r * half_step(bitcast<u32>(r)));
}`;

/** `exponential(v)`: numbers and order of engine/native/src/kernels/exponential.h. Needs `rounding`. */
export const exponential = `
fn exponential(v: f32) -> f32 {
  let clamped = min(max(v, -87.3), 87.0);
  let n = round(clamped * 1.44269504);
  let r = (clamped - n * 0.693359375) - rounded(n * -2.12194440e-4);
  var sum = 0.0013814540579915047;
  sum = rounded(sum * r) + 0.00836874544620514;
  sum = rounded(sum * r) + 0.04166838899254799;
  sum = rounded(sum * r) + 0.1666652113199234;
  sum = rounded(sum * r) + 0.4999999403953552;
  sum = rounded(sum * r) + 1.0;
  sum = rounded(sum * r) + 1.0;
  return select(sum * bitcast<f32>(u32(i32(n) + 127) << 23u), 0.0, v < -87.3);
}`;

/**
 * `fused(a, b, c)`: a·b + c, rounded once. WGSL's fma may round twice; where the device's does (arithmetic-check.ts), the sum is put together from exact parts, the smaller of which
 * are joined by rounding to odd (S. Boldo, G. Melquiond: Emulation of FMA and correctly rounded sums, 2008, figure 4). Needs `division` then.
 */
export const fusedMultiply = (isNative: boolean): string =>
  isNative
    ? `
fn fused(a: f32, b: f32, c: f32) -> f32 { return fma(a, b, c); }`
    : `
fn exact_sum(a: f32, b: f32) -> vec2f {
  let sum = a + b;
  let part = sum - a;
  return vec2f(sum, (a - (sum - part)) + (b - part));
}
fn odd_sum(a: f32, b: f32) -> f32 {
  let sum = exact_sum(a, b);
  let bits = bitcast<u32>(sum.x);
  if (sum.y == 0.0 || (bits & 1u) == 1u) { return sum.x; }
  return bitcast<f32>(select(bits - 1u, bits + 1u, (sum.y > 0.0) == (sum.x > 0.0)));
}
fn fused(a: f32, b: f32, c: f32) -> f32 {
  let product = a * b;
  let inner = exact_sum(c, -left_over(product, a, b));
  let outer = exact_sum(product, inner.x);
  return outer.x + odd_sum(inner.y, outer.y);
}`;
