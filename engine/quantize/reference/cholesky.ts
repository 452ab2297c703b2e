/**
 * Upper Cholesky factor U of an inverse, H⁻¹ = UᵀU, from one factorization of H with the order of rows and columns reversed and one triangular inverse
 * (docs/method.md, section 2). Plain float64 loops over `[size, size]` row-major arrays.
 */

/** L of A = LLᵀ, lower triangular, or null where A is not positive definite. */
export function choleskyLower(matrix: Float64Array, size: number): Float64Array | null {
  const lower = new Float64Array(size * size);
  for (let i = 0; i < size; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = matrix[i * size + j] as number;
      for (let k = 0; k < j; k++) sum -= (lower[i * size + k] as number) * (lower[j * size + k] as number);
      if (i !== j) lower[i * size + j] = sum / (lower[j * size + j] as number);
      else if (sum > 0 && Number.isFinite(sum)) lower[i * size + i] = Math.sqrt(sum);
      else return null;
    }
  }
  return lower;
}

/** L⁻¹ of a lower triangular matrix, by forward substitution of the unit vectors. */
export function invertLower(lower: Float64Array, size: number): Float64Array {
  const inverse = new Float64Array(size * size);
  for (let column = 0; column < size; column++) {
    for (let i = column; i < size; i++) {
      let sum = i === column ? 1 : 0;
      for (let k = column; k < i; k++)
        sum -= (lower[i * size + k] as number) * (inverse[k * size + column] as number);
      inverse[i * size + column] = sum / (lower[i * size + i] as number);
    }
  }
  return inverse;
}

/** Rows and columns in the opposite order. */
export function reversed(matrix: Float64Array, size: number): Float64Array {
  return matrix.map((_, index) => matrix[size * size - 1 - index] as number);
}

/**
 * U in float64 for one damping (a fraction of the mean diagonal); columns with H_jj = 0 get H_jj = 1 first. Null where H is not positive definite.
 */
export function inverseCholeskyFactor(
  hessian: Float64Array,
  size: number,
  damping: number,
): Float64Array | null {
  const damped = hessian.slice();
  let meanDiagonal = 0;
  for (let j = 0; j < size; j++) {
    if (damped[j * size + j] === 0) damped[j * size + j] = 1;
    meanDiagonal += (damped[j * size + j] as number) / size;
  }
  for (let j = 0; j < size; j++)
    damped[j * size + j] = (damped[j * size + j] as number) + damping * meanDiagonal;
  const lower = choleskyLower(reversed(damped, size), size);
  return lower === null ? null : reversed(invertLower(lower, size), size);
}
