import { rmSync } from 'node:fs';
import path from 'node:path';
import type { BlockTaps, ResidualStage } from '../float/types.ts';
import type { Architecture, Block, StageName } from '../model/architecture.ts';
import { stageWidth } from './cost-model.ts';
import { WindowFile } from './hidden-states.ts';
import { smallestTokenSquare } from './limits.ts';
import { type Recipe, targetsOf } from './recipe.ts';
import { isResidualStage, residualStages, targetTap } from './target-tap.ts';

/** Weights of one window's tokens. */
export interface WindowTokenWeights {
  /** w, `[context]`; their mean over all windows is 1. */
  weights: Float32Array;
  /** √w, `[context]`. */
  roots: Float32Array;
}

/**
 * What the stages of one block need of the full-precision stream, kept while the quantized stream goes through the block: stages' inputs and residual
 * streams on disk, window by window, and the token weights in memory.
 */
export class FloatTaps {
  readonly wanted: Required<Pick<BlockTaps, 'inputs' | 'sums'>>;
  private readonly folder: string;
  private readonly windowCount: number;
  private readonly context: number;
  private readonly architecture: Architecture;
  private readonly block: Block;
  private readonly recipe: Recipe;
  private readonly blockOutput: WindowFile | null;
  private readonly files = new Map<string, WindowFile>();
  /** Mean square of the residual stream at each token of all windows, by stage. */
  private readonly meanSquares = new Map<ResidualStage, Float64Array>();
  private readonly weights = new Map<ResidualStage, { weights: Float32Array; roots: Float32Array }>();

  constructor(settings: {
    folder: string;
    windowCount: number;
    context: number;
    architecture: Architecture;
    block: Block;
    recipe: Recipe;
    /** Where the full-precision stream's block outputs go: the residual stream behind the block, unless a norm stands between. */
    blockOutput: WindowFile | null;
  }) {
    this.folder = settings.folder;
    this.windowCount = settings.windowCount;
    this.context = settings.context;
    this.architecture = settings.architecture;
    this.block = settings.block;
    this.recipe = settings.recipe;
    this.blockOutput = settings.architecture.normPlacement === 'pre' ? settings.blockOutput : null;
    const stages = settings.block.stages.map((stage) => stage.name);
    const { tokenWeights } = targetsOf(settings.recipe);
    this.wanted = {
      inputs: stages.filter((stage) => targetTap(settings.recipe, stage) === 'input'),
      sums: residualStages.filter((stage) => tokenWeights || targetTap(settings.recipe, stage) === 'sum'),
    };
    if (!tokenWeights) return;
    for (const stage of residualStages) {
      this.meanSquares.set(stage, new Float64Array(settings.windowCount * settings.context));
    }
  }

  /** Keeps one window's taps; windows come in order. */
  write(
    window: number,
    taps: {
      inputs: Partial<Record<StageName, Float32Array>>;
      sums: Partial<Record<ResidualStage, Float32Array>>;
    },
  ): void {
    for (const stage of this.wanted.inputs)
      this.file(stage, 'input').write(window, given(taps.inputs[stage]));
    for (const stage of this.wanted.sums) {
      const sum = given(taps.sums[stage]);
      const squares = this.meanSquares.get(stage);
      if (squares)
        meanSquaresOfRows(sum, squares.subarray(window * this.context, (window + 1) * this.context));
      const stored = targetTap(this.recipe, stage) === 'sum' && !this.isBlockOutput(stage);
      if (stored) this.file(stage, 'sum').write(window, sum);
    }
    if (window + 1 < this.windowCount) return;
    for (const [stage, squares] of this.meanSquares) this.weights.set(stage, tokenWeightsOf(squares));
    this.meanSquares.clear();
  }

  /** The full-precision stream's input of a stage, `[context, in]`; valid until the next call for that stage. */
  input(stage: StageName, window: number): Float32Array {
    return this.file(stage, 'input').read(window);
  }

  /** The full-precision residual stream behind a stage's addition, `[context, hiddenSize]`; valid until the next call for that stage. */
  sum(stage: ResidualStage, window: number): Float32Array {
    const file = this.isBlockOutput(stage) ? this.blockOutput : null;
    return (file ?? this.file(stage, 'sum')).read(window);
  }

  /** Null where the recipe weighs a stage's tokens all alike. */
  tokenWeights(stage: StageName, window: number): WindowTokenWeights | null {
    const all = isResidualStage(stage) ? this.weights.get(stage) : undefined;
    if (!all) return null;
    const begin = window * this.context;
    const end = begin + this.context;
    return { weights: all.weights.subarray(begin, end), roots: all.roots.subarray(begin, end) };
  }

  /** Deletes what only this stage needed. */
  drop(stage: StageName): void {
    for (const kind of ['input', 'sum'] as const) {
      const file = this.files.get(`${kind}-${stage}`);
      if (file) this.remove(`${kind}-${stage}`, file);
    }
  }

  close(): void {
    for (const [name, file] of this.files) this.remove(name, file);
  }

  private isBlockOutput(stage: ResidualStage): boolean {
    return stage === 'mlp-out' && this.blockOutput !== null;
  }

  private file(stageName: StageName, kind: 'input' | 'sum'): WindowFile {
    const name = `${kind}-${stageName}`;
    let file = this.files.get(name);
    if (!file) {
      const stage = this.block.stages.find((each) => each.name === stageName);
      const width = kind === 'input' && stage ? stageWidth(stage) : this.architecture.hiddenSize;
      const filePath = path.join(this.folder, `scratch-float-${name}.f32`);
      file = WindowFile.createScratch(filePath, this.windowCount, this.context * width);
      this.files.set(name, file);
    }
    return file;
  }

  private remove(name: string, file: WindowFile): void {
    file.close();
    this.files.delete(name);
    rmSync(file.path, { force: true });
  }
}

function given(values: Float32Array | undefined): Float32Array {
  if (!values) throw new Error('the float engine did not give a tap that was asked for');
  return values;
}

/** Mean square of each row of `[rows, width]`, rows = squares.length. */
function meanSquaresOfRows(values: Float32Array, squares: Float64Array): void {
  const width = values.length / squares.length;
  for (let row = 0; row < squares.length; row += 1) {
    let sum = 0;
    for (let index = row * width; index < (row + 1) * width; index += 1) {
      const value = values[index] ?? 0;
      sum += value * value;
    }
    squares[row] = sum / width;
  }
}

/**
 * w_t = 1 / mean(R_t²), normalised to mean 1: a few tokens carry enormous activations and would otherwise own the whole of H. A token that is all but
 * zero weighs no more than one of `smallestTokenSquare` times the mean; a stream of zeros weighs its tokens all alike.
 *
 * @param meanSquares mean(R_t²) of all tokens
 */
export function tokenWeightsOf(meanSquares: Float64Array): { weights: Float32Array; roots: Float32Array } {
  const mean = meanSquares.reduce((sum, value) => sum + value, 0) / Math.max(1, meanSquares.length);
  const floor = mean > 0 ? smallestTokenSquare * mean : 1;
  const inverse = meanSquares.map((value) => 1 / Math.max(value, floor));
  const inverseMean = inverse.reduce((sum, value) => sum + value, 0) / Math.max(1, inverse.length);
  const weights = Float32Array.from(inverse, (value) => value / inverseMean);
  return { weights, roots: weights.map(Math.sqrt) };
}
