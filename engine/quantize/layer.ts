import type { Linear } from '../model/architecture.ts';
import { numerics } from '../native/numerics.ts';
import { dequantize } from './dequantize.ts';
import { maximumDamping } from './limits.ts';
import type { QuantizedLinear } from './quantized-linear.ts';
import type { Recipe } from './recipe.ts';

/** What the linears of a stage share: their input's Hessian and its factor. */
export interface StageHessian {
  /**
   * H = 2/n Σ w x xᵀ over the stage's input (after column scale and activation quantization; for grids before), undamped, `[in, in]`. Token weights w have
   * mean 1.
   */
  hessian: Float64Array;
  /** U with H⁻¹ = UᵀU of the damped H, or null where no damping helped or none was asked for. */
  factor: Float32Array | null;
  /** 1 for an input column that was zero in every calibration token, `[in]`. */
  deadColumns: Uint8Array;
  notes: string[];
}

/** What a Gram matrix is multiplied by to give H. */
export function hessianFactor(tokens: number): number {
  return 2 / Math.max(1, tokens);
}

/**
 * Scales a Gram matrix to H = 2/n XᵀX, in place. The few tokens that went in are noted.
 *
 * @param gram Σ w x xᵀ, `[size, size]`
 * @param tokens how many x went in; their weights w have mean 1
 */
export function scaleToHessian(gram: Float64Array, size: number, tokens: number): StageHessian {
  const factor = hessianFactor(tokens);
  for (let index = 0; index < gram.length; index += 1) gram[index] = (gram[index] ?? 0) * factor;
  const notes = tokens < size ? [`only ${tokens} calibration tokens for ${size} input columns`] : [];
  return { hessian: gram, factor: null, deadColumns: new Uint8Array(size), notes };
}

/**
 * Scales a Gram matrix to H (in place) and factorizes it. Damping that had to be raised, dead columns and few tokens are noted.
 *
 * @param gram Σ w x xᵀ, `[size, size]`
 * @param tokens how many x went in
 */
export function prepareHessian(
  gram: Float64Array,
  size: number,
  tokens: number,
  damping: number,
): StageHessian {
  const scaled = scaleToHessian(gram, size, tokens);
  const result = numerics.inverseCholesky(gram, size, { damping, maximumDamping });
  const notes: string[] = [];
  const deadCount = result.deadColumns.reduce((sum, dead) => sum + dead, 0);
  if (deadCount > 0) {
    notes.push(
      `${deadCount} of ${size} input columns were zero in all calibration tokens; their weights are set to zero`,
    );
  }
  notes.push(...scaled.notes);
  if (result.factor === null) {
    notes.push('the Hessian could not be factorized at any damping; rounded without error compensation');
  } else if (result.dampingUsed > damping) {
    notes.push(`damping was raised from ${damping} to ${result.dampingUsed} of the mean diagonal`);
  }
  return { ...scaled, factor: result.factor, deadColumns: result.deadColumns, notes };
}

export interface QuantizedLayer {
  quantized: QuantizedLinear;
  /** What the stored bits stand for, without column scale, `[out, in]`. */
  dequantized: Float32Array;
  notes: string[];
}

/**
 * Quantizes one linear by the recipe's binarizer and compensation; grids are fitted stage by stage instead (grid-stage.ts).
 *
 * @param target what is to be quantized: W·diag(T) or what the recipe's targets gave, `[out, in]`
 * @param shared the stage's Hessian, or null for recipes that use none
 * @param columnScale c = 1/T where it was not folded into a norm, `[in]`, else null
 */
export function quantizeLayer(
  linear: Linear,
  target: Float32Array,
  bias: Float32Array | null,
  shared: StageHessian | null,
  columnScale: Float32Array | null,
  recipe: Recipe,
): QuantizedLayer {
  const { outFeatures, inFeatures } = linear;
  const weight = shared ? withoutDeadColumns(target, shared.deadColumns, outFeatures, inFeatures) : target;
  const factor = shared?.factor ?? null;
  const base = { name: linear.name, outFeatures, inFeatures, bias, columnScale };
  const compensation = recipe.compensation.kind;
  const binarizer = recipe.binarizer;
  let quantized: QuantizedLinear;
  let saturatedValues: number;
  if (binarizer.kind === 'uniform') {
    const levels = 2 ** binarizer.bits;
    const { saturatedValues: saturated, ...stored } = numerics.quantizeUniform(
      weight,
      outFeatures,
      inFeatures,
      factor,
      { bits: binarizer.bits, compensation, blockSize: recipe.blockSize },
    );
    saturatedValues = saturated;
    quantized = { ...base, layout: 'grid', levels, ...stored, residual: null };
  } else if (binarizer.kind === 'grid') {
    throw new Error('a grid is fitted to all linears of a stage together');
  } else if (binarizer.kind === 'as-is') {
    throw new Error('weights that are kept as they are are not quantized');
  } else {
    const { kind: _, ...search } = binarizer;
    const { saturatedValues: saturated, ...stored } = numerics.quantizeStructured(
      weight,
      outFeatures,
      inFeatures,
      factor,
      { ...search, compensation, blockSize: recipe.blockSize },
    );
    saturatedValues = saturated;
    quantized = { ...base, layout: 'structured', ...stored };
  }
  const notes = shared
    ? [...shared.notes]
    : ['no calibration: the relative error weighs all input columns equally'];
  if (saturatedValues > 0)
    notes.push(`${saturatedValues} scales or means were larger than fp16 can hold and were cut to ±65504`);
  return { quantized, dequantized: dequantize(quantized), notes };
}

function withoutDeadColumns(
  weight: Float32Array,
  deadColumns: Uint8Array,
  outFeatures: number,
  inFeatures: number,
): Float32Array {
  if (!deadColumns.includes(1)) return weight;
  const result = Float32Array.from(weight);
  for (let row = 0; row < outFeatures; row += 1) {
    for (let column = 0; column < inFeatures; column += 1) {
      if (deadColumns[column] === 1) result[row * inFeatures + column] = 0;
    }
  }
  return result;
}

/**
 * Both figures of LayerReport; without a Hessian all input columns weigh the same (H = identity).
 *
 * @param weight W·diag(T), `[out, in]`, in the space of H
 * @param dequantized what stands for it, `[out, in]`
 * @param transform T, `[in]`, or null: errors of weights are reported for the original W
 */
export function relativeErrors(
  weight: Float32Array,
  dequantized: Float32Array,
  shared: StageHessian | null,
  transform: Float32Array | null,
  { outFeatures, inFeatures }: { outFeatures: number; inFeatures: number },
): { relativeError: number; weightRelativeError: number } {
  let squaredError = 0;
  let squaredNorm = 0;
  for (let row = 0; row < outFeatures; row += 1) {
    const offset = row * inFeatures;
    for (let column = 0; column < inFeatures; column += 1) {
      const scale = transform ? (transform[column] ?? 1) : 1;
      const original = (weight[offset + column] ?? 0) / scale;
      const difference = original - (dequantized[offset + column] ?? 0) / scale;
      squaredError += difference * difference;
      squaredNorm += original * original;
    }
  }
  const weightRelativeError = ratio(squaredError, squaredNorm);
  if (!shared) return { relativeError: weightRelativeError, weightRelativeError };
  const errors = numerics.layerErrors(weight, dequantized, shared.hessian, outFeatures, inFeatures);
  return { relativeError: ratio(errors.weightedError, errors.weightedNorm), weightRelativeError };
}

/** 0 for a layer that is all zero and came back so. */
function ratio(error: number, norm: number): number {
  if (norm > 0) return error / norm;
  return error > 0 ? 1 : 0;
}
