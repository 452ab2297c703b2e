import { numerics } from '../native/numerics.ts';
import { headDamping, maximumDamping, tiedLookupWeight } from './limits.ts';

/** What an error of the head's table costs (method.md section 9). */
export interface TableMetric {
  /** M = H / mean(diag H) + λI, `[size, size]`; H = Σ x xᵀ over the inputs of the quantized model's head. */
  metric: Float32Array;
  /** U with M⁻¹ = UᵀU, or null where M could not be factorized: then the fit starts from rounding. */
  factor: Float32Array | null;
}

/**
 * The metric of the head's table. Where the embedding is the same table, an error also reaches whoever looks a row up: λ then weighs plain closeness; else it only
 * damps. Null where the inputs are all zero or not finite, so that nothing can be compensated.
 *
 * @param gram Σ x xᵀ over the head's inputs, `[size, size]`
 */
export function prepareTableMetric(gram: Float64Array, size: number, tied: boolean): TableMetric | null {
  let trace = 0;
  for (let column = 0; column < size; column += 1) trace += gram[column * size + column] ?? 0;
  const mean = trace / size;
  if (!Number.isFinite(mean) || mean <= 0) return null;
  const metric = gram.map((value) => value / mean);
  const lambda = tied ? tiedLookupWeight : headDamping;
  for (let column = 0; column < size; column += 1) {
    const at = column * size + column;
    metric[at] = (metric[at] ?? 0) + lambda;
  }
  const { factor } = numerics.inverseCholesky(metric, size, { damping: 0, maximumDamping });
  return { metric: Float32Array.from(metric), factor };
}
