/**
 * Index of the first NaN or infinity, or −1. The sum of x · 0 is 0 as long as everything is finite, which needs no branch for each value.
 */
export function firstNonFinite(values: Float32Array): number {
  let zero = 0;
  for (let index = 0; index < values.length; index++) zero += values[index]! * 0;
  if (zero === 0) return -1;
  return values.findIndex((value) => !Number.isFinite(value));
}
