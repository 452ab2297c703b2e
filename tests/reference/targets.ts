/** Plain float64 code for what weights are fitted to (docs/method.md, targets); matrices are arrays of rows. */
export type Matrix = number[][];

/** Σ_t w_t a_t x_tᵀ. */
export function weightedProduct(a: Matrix, x: Matrix, weights: number[]): Matrix {
  const sum = a[0]!.map(() => new Array<number>(x[0]!.length).fill(0));
  for (const [t, row] of a.entries())
    for (const [i, left] of row.entries())
      for (const [j, right] of x[t]!.entries()) sum[i]![j]! += weights[t]! * left * right;
  return sum;
}

/** 1 / mean square of each row, divided by their mean. */
export function referenceTokenWeights(residual: Matrix): number[] {
  const inverse = residual.map((row) => row.length / row.reduce((sum, value) => sum + value * value, 0));
  const mean = inverse.reduce((sum, value) => sum + value, 0) / inverse.length;
  return inverse.map((value) => value / mean);
}

/** (P + λW)(H + λI)⁻¹ by Gauss-Jordan elimination with pivots, λ = damping · mean diagonal. */
export function referenceTargets(weight: Matrix, product: Matrix, hessian: Matrix, damping: number): Matrix {
  const size = hessian.length;
  const lambda = (damping * hessian.reduce((sum, row, index) => sum + row[index]!, 0)) / size;
  // (H + λI) X = (P + λW)ᵀ, H symmetric.
  const rows = hessian.map((row, i) => [
    ...row.map((value, j) => value + (i === j ? lambda : 0)),
    ...product.map((values, out) => values[i]! + lambda * weight[out]![i]!),
  ]);
  for (let pivot = 0; pivot < size; pivot++) {
    let best = pivot;
    for (let i = pivot + 1; i < size; i++)
      if (Math.abs(rows[i]![pivot]!) > Math.abs(rows[best]![pivot]!)) best = i;
    [rows[pivot], rows[best]] = [rows[best]!, rows[pivot]!];
    const top = rows[pivot]!;
    for (let i = 0; i < size; i++) {
      if (i === pivot) continue;
      const factor = rows[i]![pivot]! / top[pivot]!;
      if (factor !== 0) for (let j = pivot; j < top.length; j++) rows[i]![j]! -= factor * top[j]!;
    }
  }
  return weight.map((_, out) => rows.map((row, i) => row[size + out]! / row[i]!));
}

/** tr((A − B) H (A − B)ᵀ) / tr(A H Aᵀ). */
export function referenceRelativeError(a: Matrix, b: Matrix, hessian: Matrix): number {
  const square = (rows: Matrix): number =>
    rows.reduce(
      (total, row) =>
        total +
        row.reduce(
          (sum, left, i) => sum + left * hessian[i]!.reduce((inner, h, j) => inner + h * row[j]!, 0),
          0,
        ),
      0,
    );
  return square(a.map((row, i) => row.map((value, j) => value - b[i]![j]!))) / square(a);
}
