/**
 * What the quantization error of a block does to the columns behind it (docs/method.md, section 2): W_rest −= E · U[block, rest] with H⁻¹ = UᵀU.
 * Float32 arithmetic in the order of the native code, so that results can be compared bit by bit.
 */

export type CompensationKind = 'none' | 'reference' | 'block' | 'column';

const float = Math.fround;

/** Depth after which the native product subtracts its partial sums (engine/native/src/numerics/loops/product.cpp). */
const productDepth = 128;

/** `rows -= E · U` for one row of W behind a block. */
export function compensateRow(
  row: Float32Array,
  error: Float32Array,
  factor: Float32Array,
  inFeatures: number,
  first: number,
): void {
  for (let start = 0; start < error.length; start += productDepth) {
    const end = Math.min(start + productDepth, error.length);
    for (let j = first + error.length; j < inFeatures; j++) {
      let sum = 0;
      for (let k = start; k < end; k++)
        sum = float(sum + float((error[k] as number) * (factor[(first + k) * inFeatures + j] as number)));
      row[j] = float((row[j] as number) - sum);
    }
  }
}

/**
 * E of one row from D = W − Q of a block, in place. `reference`: D · diag(U)⁻¹ (the public reference code of BiLLM and DBellQuant); `block`: D · U_bb⁻¹, exact for a
 * block quantized as a whole. `column` has no such step: its E arises while the columns are quantized.
 */
export function errorOfBlock(
  difference: Float32Array,
  factor: Float32Array,
  inFeatures: number,
  first: number,
  kind: 'reference' | 'block',
): void {
  for (let j = 0; j < difference.length; j++) {
    const start = (first + j) * inFeatures + first;
    const error = float((difference[j] as number) / (factor[start + j] as number));
    difference[j] = error;
    if (kind === 'block')
      for (let k = j + 1; k < difference.length; k++)
        difference[k] = float((difference[k] as number) - float(error * (factor[start + k] as number)));
  }
}
