import type { EmbeddingBits } from '../contract/common.ts';
import { type Architecture, type Block, type Linear, linearsOf, type Stage } from '../model/architecture.ts';
import { tableSweeps } from './limits.ts';
import type { Recipe } from './recipe.ts';
import { compensatesTables, usesFloatStream, usesHessians } from './resolve-recipe.ts';
import { targetTap } from './target-tap.ts';

/**
 * Work of each step in floating-point operations, for progress and for the time estimate. What is no matrix product is weighted by how much slower
 * it runs than one, so that the sums are proportional to time.
 */

/** Of the addon's own loops (searches over thresholds, SGD, triangular solves) against a matrix product. */
const numericsWeight = 4;
/** Of the products in a grid's fit against one in onnxruntime. */
const gridProductWeight = 4;
/** Of a window through a block of the float model whose activations are looked at, against a plain one. */
const observedPassWeight = 1.4;
/** Of a window through a block cut at the stage borders, whose states wait in files, and of the products taken there, against a plain one. */
const cutPassWeight = 1.5;
/** Passes over a weight that the structured search makes: salient counts and percentiles, each a first-order binarization. */
const structuredSearchOperations = 1500;
/** Operations for a weight and epoch of LTDB: targets, two distances, gradient. */
const ltdbOperationsPerWeight = 30;
/** Blocks usually stop early, well before the maximum. */
const ltdbTypicalEpochs = 100;

export function stageWidth(stage: Stage): number {
  return stage.linears[0]?.inFeatures ?? 0;
}

/** One window through one block: linears, and causal attention at half. */
export function blockForwardOperations(architecture: Architecture, block: Block, context: number): number {
  const weights = linearsOf(block).reduce((sum, linear) => sum + linear.inFeatures * linear.outFeatures, 0);
  const attention = 2 * context * context * architecture.headCount * architecture.headDimension;
  return 2 * context * weights + attention;
}

/** One window through one block of the full-precision stream. */
export function floatPassOperations(architecture: Architecture, block: Block, context: number): number {
  return observedPassWeight * blockForwardOperations(architecture, block, context);
}

/** One window through one block of the quantized stream, in pieces. */
export function quantizedPassOperations(architecture: Architecture, block: Block, context: number): number {
  return cutPassWeight * blockForwardOperations(architecture, block, context);
}

export function gramOperations(stage: Stage, context: number): number {
  return cutPassWeight * context * stageWidth(stage) ** 2;
}

/** One window's cross product with what the stage's targets are made from. */
export function targetOperations(stage: Stage, recipe: Recipe, context: number): number {
  const tap = targetTap(recipe, stage.name);
  if (tap === null) return 0;
  const left =
    tap === 'sum' ? stage.linears.reduce((sum, linear) => sum + linear.outFeatures, 0) : stageWidth(stage);
  return cutPassWeight * 2 * context * left * stageWidth(stage);
}

export function factorOperations(stage: Stage): number {
  return numericsWeight * stageWidth(stage) ** 3;
}

export function quantizeOperations(linear: Linear, recipe: Recipe): number {
  const weights = linear.inFeatures * linear.outFeatures;
  const { binarizer } = recipe;
  if (binarizer.kind === 'grid') {
    // In products of the weight with H, two operations an element (docs/method.md, section 8).
    const products = 3.5 + binarizer.rounds * (2.5 + binarizer.sweeps);
    return gridProductWeight * 2 * products * weights * linear.inFeatures;
  }
  const search = binarizer.kind === 'structured' ? structuredSearchOperations * weights : 20 * weights;
  const compensation = recipe.compensation.kind === 'none' ? 0 : weights * linear.inFeatures;
  const errors = usesHessians(recipe) ? 2 * weights * linear.inFeatures : 2 * weights;
  return numericsWeight * (search + compensation + errors);
}

export function transformOperations(linear: Linear, recipe: Recipe): number {
  if (recipe.transform.kind !== 'ltdb') return 0;
  const epochs =
    recipe.transform.training === 'trained' ? Math.min(ltdbTypicalEpochs, recipe.transform.maximumEpochs) : 1;
  return numericsWeight * epochs * ltdbOperationsPerWeight * linear.inFeatures * linear.outFeatures;
}

/** Stages whose input a norm makes; only these are transformed (method.md section 1). */
export function isTransformed(stage: Stage): boolean {
  return stage.name === 'attention-in' || stage.name === 'mlp-in';
}

/** Pieces of a block's forward pass when it is cut at the stage borders: into each stage, and out of the block. */
export const piecesPerBlock = 5;

/** All of a block's work. Nobody needs the last block's outputs on the quantized stream. */
export function blockOperations(
  architecture: Architecture,
  block: Block,
  recipe: Recipe,
  windowCount: number,
  context: number,
): number {
  let total = 0;
  if (usesFloatStream(recipe)) total += windowCount * floatPassOperations(architecture, block, context);
  for (const stage of block.stages) {
    if (usesHessians(recipe)) {
      const perWindow = gramOperations(stage, context) + targetOperations(stage, recipe, context);
      total += windowCount * perWindow + factorOperations(stage);
    }
    for (const linear of stage.linears) {
      total += quantizeOperations(linear, recipe);
      if (isTransformed(stage)) total += transformOperations(linear, recipe);
    }
  }
  if (usesHessians(recipe)) {
    const isLast = block.index + 1 === architecture.blocks.length;
    const passes = recipe.compensation.hessian === 'per-block' ? 2 : 1;
    const out = recipe.compensation.hessian === 'per-block' ? 1 : 1 / piecesPerBlock;
    const pass = quantizedPassOperations(architecture, block, context);
    total += windowCount * pass * (passes - (isLast ? out : 0));
  }
  return total;
}

/** One window's share of the Gram matrix of the head's input. */
export function headGramOperations(architecture: Architecture, context: number): number {
  return cutPassWeight * context * architecture.embedding.embeddingSize ** 2;
}

/** Fitting the head's table: products of every row with the metric for the start, each sweep and the errors. */
export function tableFitOperations(architecture: Architecture): number {
  const products = tableSweeps + 4;
  return (
    numericsWeight * 2 * products * architecture.vocabularySize * architecture.embedding.embeddingSize ** 2
  );
}

/** All of the head's work where its table is fitted, the last block's outputs included, which nobody else needs; else nothing. */
export function headOperations(
  architecture: Architecture,
  recipe: Recipe,
  embeddingBits: EmbeddingBits,
  windowCount: number,
  context: number,
): number {
  const last = architecture.blocks.at(-1);
  if (!last || !compensatesTables(recipe, embeddingBits)) return 0;
  return (
    windowCount *
      (outputOperations(architecture, last, recipe, context) + headGramOperations(architecture, context)) +
    tableFitOperations(architecture)
  );
}

/** From the last stage's input to the block's output, as blockOperations counts it. */
function outputOperations(architecture: Architecture, block: Block, recipe: Recipe, context: number): number {
  const pass = quantizedPassOperations(architecture, block, context);
  return recipe.compensation.hessian === 'per-block' ? pass : pass / piecesPerBlock;
}
