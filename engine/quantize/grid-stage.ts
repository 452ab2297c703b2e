import { DBellError } from '../contract/errors.ts';
import type { Linear, Stage } from '../model/architecture.ts';
import { type GridFit, numerics } from '../native/numerics.ts';
import { residualColumnCount, residualLevels } from './code-storage.ts';
import { stageWidth } from './cost-model.ts';
import { type FoldSource, isTied, scaleOfColumns, scaleOfRows } from './folding.ts';
import { maximumDamping } from './limits.ts';
import { blockCount, columnsPerBlock, type GridResidual } from './quantized-linear.ts';
import { activationScalesOf, type Recipe } from './recipe.ts';
import { divideColumns } from './scaled-columns.ts';

/** Codes and scales of one linear of a stage, cut out of the fit of all of them. */
export interface GridLinearFit {
  linear: Linear;
  codes: Uint8Array;
  scales: Uint16Array;
  residual: GridResidual | null;
}

export interface GridStageFit {
  linears: GridLinearFit[];
  /** c, shared by the stage's linears, `[in]`; null where there is none. */
  columnScale: Float32Array | null;
  notes: string[];
}

/** Larger values could leave the range of float32 in products with H. */
const largestTarget = 1e15;

/** What a grid is fitted to. */
export interface GridStageInputs {
  /** W̃ of the linears, one below the other, `[Σ out, in]`. */
  target: Float32Array;
  /** H, undamped, `[in, in]`. */
  hessian: Float64Array;
  /** Inputs and weights of some tokens, where the stage's inputs are to be rounded; else null. */
  sample: { inputs: Float32Array; weights: Float32Array } | null;
}

/**
 * Fits the recipe's grid to the targets of all linears of a stage as one matrix, so that they share one column scale (method.md section 8).
 *
 * @param columnScale whether the stage may have a column scale: any, one that goes into the rows of the linear in front, or none
 * @throws DBellError `invalid-model` naming the linear where a value to be fitted is too large
 */
export function fitGridStage(
  stage: Stage,
  inputs: GridStageInputs,
  recipe: Recipe,
  columnScale: 'free' | 'none' | FoldSource,
): GridStageFit {
  const { damping } = recipe.compensation;
  const inFeatures = stageWidth(stage);
  const fit = fitOnce(stage, inputs, inFeatures, recipe, columnScale === 'none' ? 'none' : 'free');
  if (typeof columnScale === 'string' || !isTied(columnScale) || !fit.columnScale) {
    return {
      linears: cutFit(stage, fit, inFeatures),
      columnScale: fit.columnScale,
      notes: notesOf(fit, inFeatures, damping),
    };
  }
  // Columns that share a scale take the mean of those that they would have had for themselves; everything else is fitted again around it.
  const tied = scaleOfColumns(columnScale, scaleOfRows(columnScale, fit.columnScale));
  const again = fitOnce(stage, inScaledSpace(inputs, tied), inFeatures, recipe, 'none');
  return {
    linears: cutFit(stage, again, inFeatures),
    columnScale: tied,
    notes: notesOf(again, inFeatures, damping),
  };
}

/** W̃ diag(c)⁻¹ and diag(c) H diag(c): what a grid without c must be fitted to so that it is best with this c. */
function inScaledSpace({ target, hessian }: GridStageInputs, scale: Float32Array): GridStageInputs {
  const size = scale.length;
  return {
    // Only a c that is still free can make rounding cheaper.
    sample: null,
    target: divideColumns(target, scale),
    hessian: hessian.map(
      (value, index) => value * (scale[Math.floor(index / size)] ?? 1) * (scale[index % size] ?? 1),
    ),
  };
}

function checkTarget({ linears }: Stage, target: Float32Array): void {
  let begin = 0;
  for (const { name, outFeatures, inFeatures } of linears) {
    const end = begin + outFeatures * inFeatures;
    for (let index = begin; index < end; index += 1) {
      const value = target[index] ?? 0;
      if (Math.abs(value) <= largestTarget) continue;
      const row = Math.floor((index - begin) / inFeatures);
      throw new DBellError(
        'invalid-model',
        `${name}: what its grid is fitted to is ${value} at row ${row} of ${outFeatures}, column ${(index - begin) % inFeatures}; ` +
          `the fit would leave the range of float32 beyond ${largestTarget}, so these weights cannot be used`,
      );
    }
    begin = end;
  }
}

function fitOnce(
  stage: Stage,
  { target, hessian, sample }: GridStageInputs,
  inFeatures: number,
  recipe: Recipe,
  columnScale: 'free' | 'none',
): GridFit {
  const { binarizer, compensation, blockSize } = recipe;
  if (binarizer.kind !== 'grid') throw new Error('the recipe has no grid');
  const { damping } = compensation;
  checkTarget(stage, target);
  return numerics.fitGrid(target, hessian, target.length / inFeatures, inFeatures, {
    levels: binarizer.levels,
    rounds: binarizer.rounds,
    sweeps: binarizer.sweeps,
    blockSize,
    damping,
    maximumDamping: Math.max(damping, maximumDamping),
    rowRidge: binarizer.rowRidge,
    columnRidge: binarizer.columnRidge,
    columnScale,
    residualColumns: residualColumnCount(binarizer.residualPercent, inFeatures),
    activations: sample && columnScale === 'free' ? { ...sample, ...roundingOf(recipe) } : null,
  });
}

function roundingOf(recipe: Recipe): { bits: number; columnsPerStep?: number } {
  const bits = recipe.activationBits;
  return activationScalesOf(recipe) === 'block' ? { bits, columnsPerStep: columnsPerBlock } : { bits };
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
      residual: fit.residual && cutResidual(fit.residual, row, end),
    };
    row = end;
    return part;
  });
}

/** The rows [begin, end) of a residual; its columns are those of the whole stage. */
function cutResidual(
  { columns, codes, scales }: NonNullable<GridFit['residual']>,
  begin: number,
  end: number,
): GridResidual {
  const count = columns.length;
  const blocks = blockCount(count);
  return {
    columns,
    levels: residualLevels,
    codes: codes.slice(begin * count, end * count),
    scales: scales.slice(begin * blocks, end * blocks),
  };
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
