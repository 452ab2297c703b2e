/** W·diag(c) in a new array, `[out, in]`; c is `[in]`. */
export function scaleColumns(weight: Float32Array, scale: ArrayLike<number>): Float32Array {
  const columns = scale.length;
  return weight.map((value, index) => value * (scale[index % columns] ?? 1));
}

/** W·diag(c)⁻¹ in a new array: weights in the space in which their codes are chosen; a column whose scale is 0 has none and counts as zeros. */
export function divideColumns(weight: Float32Array, scale: ArrayLike<number>): Float32Array {
  const columns = scale.length;
  return weight.map((value, index) => {
    const divisor = scale[index % columns] ?? 1;
    return divisor === 0 ? 0 : value / divisor;
  });
}
