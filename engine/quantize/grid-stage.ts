import type { Linear, Stage } from '../model/architecture.ts';
import { type GridFit, numerics } from '../native/numerics.ts';
import { stageWidth } from './cost-model.ts';
import { maximumDamping } from './limits.ts';
import { blockCount } from './quantized-linear.ts';
import type { Recipe } from './recipe.ts';

/** Codes and scales of one linear of a stage, cut out of the fit of all of them. */
export interface GridLinearFit {
  linear: Linear;
  codes: Uint8Array;
  scales: Uint16Array;
}

export interface GridStageFit {
  linears: GridLinearFit[];
  /** c, shared by the stage's linears, `[in]`; null where there is none. */
  columnScale: Float32Array | null;
  notes: string[];
}

/**
 * Fits the recipe's grid to the targets of all linears of a stage as one matrix, so that they share one column scale (method.md section 8).
 *
 * @param target W̃ of the linears, one below the other, `[Σ out, in]`
 * @param hessian H, undamped, `[in, in]`
 * @param withColumnScale false where the recipe allows c, but not at this stage
 */
export function fitGridStage(
  stage: Stage,
  target: Float32Array,
  hessian: Float64Array,
  recipe: Recipe,
  withColumnScale: boolean,
): GridStageFit {
  const { binarizer, compensation, blockSize } = recipe;
  if (binarizer.kind !== 'grid') throw new Error('the recipe has no grid');
  const inFeatures = stageWidth(stage);
  const outFeatures = target.length / inFeatures;
  const { damping } = compensation;
  const fit = numerics.fitGrid(target, hessian, outFeatures, inFeatures, {
    levels: binarizer.levels,
    rounds: binarizer.rounds,
    sweeps: binarizer.sweeps,
    blockSize,
    damping,
    maximumDamping: Math.max(damping, maximumDamping),
    rowRidge: binarizer.rowRidge,
    columnRidge: binarizer.columnRidge,
    columnScale: withColumnScale ? 'free' : 'none',
  });
  return {
    linears: cutFit(stage, fit, inFeatures),
    columnScale: fit.columnScale,
    notes: notesOf(fit, inFeatures, damping),
  };
}

function cutFit(stage: Stage, fit: GridFit, inFeatures: number): GridLinearFit[] {
  const blocks = blockCount(inFeatures);
  let row = 0;
  return stage.linears.map((linear) => {
    const end = row + linear.outFeatures;
    const part = {
      linear,
      codes: fit.codes.slice(row * inFeatures, end * inFeatures),
      scales: fit.scales.slice(row * blocks, end * blocks),
    };
    row = end;
    return part;
  });
}

function notesOf(fit: GridFit, inFeatures: number, damping: number): string[] {
  const notes: string[] = [];
  if (fit.deadColumns > 0) {
    notes.push(
      `${fit.deadColumns} of ${inFeatures} input columns were zero in all calibration tokens; their codes were fitted by the damping alone`,
    );
  }
  if (fit.dampingUsed > damping) {
    notes.push(`damping was raised from ${damping} to ${fit.dampingUsed} of the mean diagonal`);
  }
  if (fit.saturatedValues > 0) {
    notes.push(`${fit.saturatedValues} scales were larger than fp16 can hold and were cut to ±65504`);
  }
  return notes;
}
