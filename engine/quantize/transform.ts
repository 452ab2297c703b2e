import type { BlockWeights } from '../float/types.ts';
import type { Linear, Stage } from '../model/architecture.ts';
import { numerics } from '../native/numerics.ts';
import { ltdbCurvePoints } from './limits.ts';
import type { LtdbSummary } from './progress.ts';
import type { LtdbTransform } from './recipe.ts';
import { scaleColumns } from './scaled-columns.ts';

/** Below this share of the geometric mean a T is taken for "crossed zero" and lifted, since 1/T multiplies the activations. */
const smallestRelativeScale = 1e-5;

/** Per-column maximum of |W|, `[in]`, of a weight `[out, in]`. */
export function columnMaximum(weight: Float32Array, outFeatures: number, inFeatures: number): Float32Array {
  const maximum = new Float32Array(inFeatures);
  for (let row = 0; row < outFeatures; row += 1) {
    const offset = row * inFeatures;
    for (let column = 0; column < inFeatures; column += 1) {
      const magnitude = Math.abs(weight[offset + column] ?? 0);
      if (magnitude > (maximum[column] ?? 0)) maximum[column] = magnitude;
    }
  }
  return maximum;
}

/**
 * Merges the scales of linears that share an input: per column the T of largest magnitude, sign kept (method.md section 1, step 3). A linear whose
 * column is all zero has no say there; where none has, T = 1.
 *
 * @param scales T of each linear, `[in]`
 * @param maxima max|W_ij| of each linear's columns, `[in]`
 */
export function mergeScales(scales: Float32Array[], maxima: Float32Array[]): Float32Array {
  const size = scales[0]?.length ?? 0;
  const merged = new Float32Array(size).fill(1);
  for (let column = 0; column < size; column += 1) {
    let best = 0;
    scales.forEach((scale, index) => {
      const value = scale[column] ?? 0;
      if ((maxima[index]?.[column] ?? 0) > 0 && Number.isFinite(value) && Math.abs(value) > Math.abs(best)) {
        best = value;
      }
    });
    if (best !== 0) merged[column] = best;
  }
  return merged;
}

/**
 * Multiplies T by the power of two that brings its geometric mean to about 1: exact, without influence on the result, and W·T stays in fp16's range.
 * Values that crossed zero are lifted to `smallestRelativeScale`.
 *
 * @returns columns that were lifted
 */
export function normaliseScale(scale: Float32Array): number {
  let logarithms = 0;
  for (const value of scale) logarithms += Math.log2(Math.abs(value));
  const factor = 2 ** -Math.round(logarithms / Math.max(1, scale.length));
  let lifted = 0;
  for (let column = 0; column < scale.length; column += 1) {
    const value = (scale[column] ?? 1) * factor;
    if (Math.abs(value) < smallestRelativeScale) {
      scale[column] = value < 0 ? -smallestRelativeScale : smallestRelativeScale;
      lifted += 1;
    } else {
      scale[column] = value;
    }
  }
  return lifted;
}

export interface StageTransform {
  /** Merged T, `[in]`: weights are multiplied by it, the input is divided by it. */
  scale: Float32Array;
  /** By module name. */
  summaries: Map<string, LtdbSummary>;
  notes: string[];
}

/**
 * LTDB for the linears of one stage.
 *
 * @param absMax max|X_j| of the float model's stage input over the calibration windows, `[in]`
 * @param onLinear called after each linear's training
 */
export async function trainStageTransform(
  stage: Stage,
  weights: BlockWeights,
  absMax: Float32Array,
  transform: LtdbTransform,
  blockSize: number,
  onLinear: (linear: Linear, summary: LtdbSummary) => Promise<void>,
): Promise<StageTransform> {
  const maxima = stage.linears.map((linear) =>
    columnMaximum(weightOf(weights, linear), linear.outFeatures, linear.inFeatures),
  );
  const joint = transform.weightMaximum === 'joint' ? elementwiseMaximum(maxima) : null;
  const scales: Float32Array[] = [];
  const summaries = new Map<string, LtdbSummary>();
  for (const linear of stage.linears) {
    const trained = numerics.trainLtdb(
      weightOf(weights, linear),
      linear.outFeatures,
      linear.inFeatures,
      absMax,
      joint,
      {
        epsilon: transform.epsilon,
        training: transform.training,
        learningRate: transform.learningRate,
        maximumEpochs: transform.maximumEpochs,
        loss: transform.loss,
        blockSize,
      },
    );
    scales.push(trained.scale);
    const summary = summarise(trained);
    summaries.set(linear.name, summary);
    await onLinear(linear, summary);
  }
  const scale = mergeScales(scales, maxima);
  const lifted = normaliseScale(scale);
  const notes = lifted > 0 ? [`LTDB: T crossed zero in ${lifted} columns and was kept away from it`] : [];
  const keptStart = [...summaries.values()].reduce((sum, summary) => sum + summary.keptStart, 0);
  if (keptStart > 0)
    notes.push(`LTDB: ${keptStart} blocks of columns kept the start value (loss not finite)`);
  return { scale, summaries, notes };
}

/**
 * Applies T to the stage's weights (in new arrays) and folds 1/T into the norm in front, weight and bias; where there is none to fold into, gives the
 * column scale c = 1/T that the input is to be multiplied by.
 *
 * @returns the column scale, or null where it was folded; and the names of the norm tensors that changed
 */
export function applyTransform(
  stage: Stage,
  weights: BlockWeights,
  scale: Float32Array,
): { columnScale: Float32Array | null; changedNorms: string[] } {
  for (const linear of stage.linears) {
    weights.set(`${linear.name}.weight`, scaleColumns(weightOf(weights, linear), scale));
  }
  const norm = stage.foldableNorm;
  if (norm === null || norm.weight === null) {
    return { columnScale: scale.map((value) => 1 / value), changedNorms: [] };
  }
  const changedNorms = norm.bias === null ? [norm.weight] : [norm.weight, norm.bias];
  for (const name of changedNorms) {
    const values = weights.get(name);
    if (!values) throw new Error(`norm ${name} is missing among the block's weights`);
    weights.set(
      name,
      values.map((value, column) => value / (scale[column] ?? 1)),
    );
  }
  return { columnScale: null, changedNorms };
}

export function weightOf(weights: BlockWeights, linear: Linear): Float32Array {
  const weight = weights.get(`${linear.name}.weight`);
  if (!weight) throw new Error(`weight of ${linear.name} is missing among the block's weights`);
  return weight;
}

function elementwiseMaximum(arrays: Float32Array[]): Float32Array {
  const result = new Float32Array(arrays[0]?.length ?? 0);
  for (const array of arrays) {
    array.forEach((value, index) => {
      if (value > (result[index] ?? 0)) result[index] = value;
    });
  }
  return result;
}

/** Loss curves of all column blocks as one mean curve; a block that has stopped counts with its last loss. */
function summarise(trained: {
  lossCurves: Float32Array[];
  epochs: Int32Array;
  stoppedEarly: Uint8Array;
  keptStart: Uint8Array;
}): LtdbSummary {
  const longest = Math.max(0, ...trained.lossCurves.map((curve) => curve.length));
  const points = Math.min(ltdbCurvePoints, longest);
  const epochs: number[] = [];
  const lossCurve: number[] = [];
  for (let point = 0; point < points; point += 1) {
    const epoch = points === 1 ? 0 : Math.round((point * (longest - 1)) / (points - 1));
    const losses = trained.lossCurves
      .map((curve) => curve[Math.min(epoch, curve.length - 1)] ?? Number.NaN)
      .filter((loss) => Number.isFinite(loss));
    if (losses.length === 0) continue;
    epochs.push(epoch);
    lossCurve.push(losses.reduce((sum, loss) => sum + loss, 0) / losses.length);
  }
  const sum = (values: Iterable<number>): number => [...values].reduce((total, value) => total + value, 0);
  return {
    lossCurve,
    epochs,
    blockCount: trained.epochs.length,
    meanEpochs: sum(trained.epochs) / Math.max(1, trained.epochs.length),
    stoppedEarly: sum(trained.stoppedEarly),
    keptStart: sum(trained.keptStart),
  };
}
