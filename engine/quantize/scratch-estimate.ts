import type { Architecture, Block, Stage } from '../model/architecture.ts';
import { stageWidth } from './cost-model.ts';
import type { Recipe } from './recipe.ts';
import { usesHessians } from './resolve-recipe.ts';
import { targetTap } from './target-tap.ts';

/** What is needed only while a block is at work: scratch files on disk, and the memory of targets and grid fits. */

const float32Bytes = 4;
const float64Bytes = 8;

/** Values of a token that FloatTaps keeps on disk for a stage. */
function tapWidth(architecture: Architecture, recipe: Recipe, stage: Stage): number {
  const tap = targetTap(recipe, stage.name);
  if (tap === null) return 0;
  return tap === 'sum' ? architecture.hiddenSize : stageWidth(stage);
}

/**
 * Scratch files at their largest: of StageStates the stage's inputs, those of the stage before and from mlp-in on the residual stream; of FloatTaps what the stage
 * and those behind it need.
 */
export function scratchBytes(
  architecture: Architecture,
  block: Block,
  recipe: Recipe,
  tokens: number,
): number {
  if (!usesHessians(recipe) || recipe.compensation.hessian === 'per-block') return 0;
  let largest = 0;
  for (const [index, stage] of block.stages.entries()) {
    // The input of attention-in is computed again instead of being kept.
    const before = block.stages[index - 1];
    const inputs = (index > 0 ? stageWidth(stage) : 0) + (before && index > 1 ? stageWidth(before) : 0);
    const residual = index > 1 ? architecture.hiddenSize : 0;
    const taps = block.stages
      .slice(index)
      .reduce((sum, each) => sum + tapWidth(architecture, recipe, each), 0);
    largest = Math.max(largest, inputs + residual + taps);
  }
  return tokens * float32Bytes * largest;
}

/** Windows of FloatTaps in memory: one of each file, and as many as the float engine has just given. */
export function tapWindowBytes(
  architecture: Architecture,
  block: Block,
  recipe: Recipe,
  context: number,
): number {
  const width = block.stages.reduce((sum, stage) => sum + tapWidth(architecture, recipe, stage), 0);
  return 2 * width * context * float32Bytes;
}

/**
 * Targets and the fit of a stage at its widest: cross product and its window's part, own weights one below the other, W̃ and what solving for it takes in float64; for a
 * grid the target's product with H, the gradient, the weights without c and codes, twice.
 */
export function fitBytes(block: Block, recipe: Recipe): number {
  const isGrid = recipe.binarizer.kind === 'grid';
  let largest = 0;
  for (const stage of block.stages) {
    const width = stageWidth(stage);
    const rows = stage.linears.reduce((sum, linear) => sum + linear.outFeatures, 0);
    const weights = rows * width;
    const tap = targetTap(recipe, stage.name);
    let bytes = 0;
    if (tap !== null) {
      bytes += (float64Bytes + float32Bytes) * (tap === 'sum' ? weights : width * width);
      bytes += (2 * float64Bytes + 2 * float32Bytes) * weights;
    }
    if (isGrid) bytes += (4 * float32Bytes + 2) * weights + 2 * float32Bytes * width * width;
    largest = Math.max(largest, bytes);
  }
  return largest;
}
