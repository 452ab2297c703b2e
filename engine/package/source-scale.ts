import type { Stage } from '../model/architecture.ts';
import type { ModelSource } from '../model/source.ts';
import { foldsIntoNorms } from '../quantize/resolve-recipe.ts';
import type { PackageSource } from './types.ts';

/**
 * c of a stage whose scale was folded into the norm in front, `[in]`: stored weight / source weight; NaN where the source's is zero. Null where nothing was folded.
 */
export function normScale(
  opened: Pick<PackageSource, 'quantization' | 'readFloat32'>,
  source: ModelSource,
  stage: Stage,
): Float64Array | null {
  const norm = stage.foldableNorm;
  if (!foldsIntoNorms(opened.quantization.recipe) || norm === null || norm.weight === null) return null;
  const after = opened.readFloat32(norm.weight);
  return Float64Array.from(source.readFloat32(norm.weight), (value, index) =>
    value === 0 ? Number.NaN : (after[index] ?? 0) / value,
  );
}

/** What the stored weights are to be multiplied by, column by column, and whether some of it had to be fitted (least squares). */
export function effectiveScale(
  columnScale: Float32Array | null,
  folded: Float64Array | null,
  weight: Float32Array,
  quantized: Float32Array,
  inFeatures: number,
): { scale: Float64Array; fitted: boolean } {
  const scale = Float64Array.from({ length: inFeatures }, (_, column) =>
    columnScale !== null ? (columnScale[column] ?? 1) : folded !== null ? (folded[column] ?? 1) : 1,
  );
  let fitted = false;
  for (let column = 0; column < inFeatures; column += 1) {
    if (!Number.isNaN(scale[column])) continue;
    fitted = true;
    let product = 0;
    let square = 0;
    for (let index = column; index < weight.length; index += inFeatures) {
      product += (weight[index] ?? 0) * (quantized[index] ?? 0);
      square += (quantized[index] ?? 0) ** 2;
    }
    scale[column] = square === 0 ? 0 : product / square;
  }
  return { scale, fitted };
}
