import type { FamilyName } from '../model/architecture.ts';
import {
  type ActivationScales,
  type GridBinarizer,
  gridLevels,
  type LtdbTransform,
  maximumResidualPercent,
  minimumResidualPercent,
  type Recipe,
  type StructuredBinarizer,
  type Targets,
} from './recipe.ts';

/**
 * Every recipe, as data. The plain names hold the variants that measured best on held-out text; `-reference` holds the choices of
 * DBellQuant's reference code, for comparison with published figures. A package stores the resolved recipe, so it says which it was.
 */

/** LTDB with the paper's constants (DBellQuant, arXiv 2507.01027, section 3 and its ablation of epsilon). */
export const ltdbDefaults: LtdbTransform = {
  kind: 'ltdb',
  epsilon: 0.85,
  training: 'trained',
  learningRate: 0.01,
  maximumEpochs: 200,
  loss: 'l2',
  weightMaximum: 'own',
};

/** Structured binarization: at most 49 salient columns a block and 81 percentiles from 10% to 90% (BiLLM, arXiv 2402.04291). */
export const structuredDefaults: StructuredBinarizer = {
  kind: 'structured',
  importance: 'hessian',
  searchOn: 'weight',
  maximumSalientColumns: 49,
  splitPercentiles: { first: 10, last: 90, count: 81 },
  percentilesOver: 'non-salient',
};

const structuredAsReference: StructuredBinarizer = {
  ...structuredDefaults,
  searchOn: 'importance',
  percentilesOver: 'all-with-zeros',
};

/** Four rounds of two sweeps: more move perplexity by less than its own noise. */
export const gridDefaults: GridBinarizer = {
  kind: 'grid',
  levels: 4,
  rounds: 4,
  sweeps: 2,
  columnScale: 'free',
  rowRidge: 1e-4,
  columnRidge: 1e-3,
  residualPercent: 0,
  roundingAwareBits: 6,
};

/** 1% of the mean diagonal, as GPTQ's own code uses. */
const damping = 0.01;

/** GPTQ's asymmetric grids measure better with more on both SmolLM2-135M and dbell-stories-7m (docs/method.md). */
const asymmetricGridDamping = 0.05;

const common = { activationBits: 8, blockSize: 128 } as const;

/**
 * Steps by block where they are free, in grids, whose scales are by row and block too (docs/method.md, section 3). By token in structured binarization, as its
 * papers have it; in models that were trained so (as-is); and beside residual columns, which take values from many blocks.
 */
export function defaultActivationScales(binarizer: Recipe['binarizer']): ActivationScales {
  return canScaleByBlock(binarizer) && binarizer.kind !== 'as-is' ? 'block' : 'token';
}

/** Whether the packed layout of this binarizer takes steps by block. */
export function canScaleByBlock(binarizer: Recipe['binarizer']): boolean {
  return binarizer.kind !== 'structured' && !(binarizer.kind === 'grid' && binarizer.residualPercent > 0);
}

export interface RecipeEntry {
  /** One line for lists and help texts. */
  description: string;
  recipe: Recipe;
  /** What differs for a family: values by path, applied before a person's own settings. */
  familyOverrides?: Partial<Record<FamilyName, Record<string, string>>>;
}

const uniform = (name: string, bits: number, compensated: boolean): RecipeEntry => ({
  description: compensated
    ? `GPTQ at ${bits} bit${bits === 1 ? ', mean and scale' : 's, asymmetric'}, groups of 128 columns`
    : `rounding to nearest at ${bits} bit${bits === 1 ? ', mean and scale' : 's, asymmetric'}, groups of 128 columns; needs no calibration`,
  recipe: {
    name,
    transform: { kind: 'none' },
    binarizer: { kind: 'uniform', bits },
    compensation: {
      kind: compensated ? 'column' : 'none',
      damping: bits === 1 ? damping : asymmetricGridDamping,
      hessian: 'per-stage',
    },
    ...common,
    nominalBitsPerWeight: bits,
  },
});

/**
 * The papers' own figure for a binarizer; null where they have none. BiLLM's 1.1 leaves the group bitmap out (method.md section 2) and counts at most
 * 49 salient columns a block, hence "nominal".
 */
export function nominalBitsOf(binarizer: Recipe['binarizer']): number | null {
  if (binarizer.kind === 'uniform') return binarizer.bits;
  if (binarizer.kind === 'grid' || binarizer.kind === 'as-is') return null;
  return binarizer.maximumSalientColumns === structuredDefaults.maximumSalientColumns ? 1.1 : null;
}

/** Brings the quantized residual stream back to the full-precision one, every token by its own scale. */
export const gridTargets: Targets = { kind: 'residual', damping: 0.05, tokenWeights: true };

const grid = (levels: GridBinarizer['levels']): RecipeEntry => ({
  description: `grid of ${levels} levels with scales for rows and columns, fitted to bring the residual stream back to full precision`,
  recipe: {
    name: `grid-${levels}`,
    transform: { kind: 'none' },
    binarizer: { ...gridDefaults, levels },
    compensation: { kind: 'column', damping, hessian: 'per-stage' },
    ...common,
    targets: gridTargets,
    nominalBitsPerWeight: null,
  },
});

const entries: RecipeEntry[] = [
  {
    description:
      'DBellQuant, the variants that measure best: LTDB, structured binarization searched on the weights',
    recipe: {
      name: 'dbellquant',
      transform: ltdbDefaults,
      binarizer: structuredDefaults,
      compensation: { kind: 'column', damping, hessian: 'per-stage' },
      ...common,
      nominalBitsPerWeight: nominalBitsOf(structuredDefaults),
    },
  },
  {
    description: "DBellQuant with the reference code's choices, for comparison with published figures",
    recipe: {
      name: 'dbellquant-reference',
      transform: ltdbDefaults,
      binarizer: structuredAsReference,
      compensation: { kind: 'reference', damping, hessian: 'per-block' },
      ...common,
      nominalBitsPerWeight: nominalBitsOf(structuredDefaults),
    },
    // The reference code trains T for LLaMA, Mistral and Qwen only; OPT keeps the start value, with one max|W| over q, k and v.
    familyOverrides: { opt: { 'transform.training': 'start', 'transform.weightMaximum': 'joint' } },
  },
  {
    description: 'BiLLM, the variants that measure best: structured binarization searched on the weights',
    recipe: {
      name: 'billm',
      transform: { kind: 'none' },
      binarizer: structuredDefaults,
      compensation: { kind: 'column', damping, hessian: 'per-stage' },
      ...common,
      nominalBitsPerWeight: nominalBitsOf(structuredDefaults),
    },
  },
  {
    description: "BiLLM with the reference code's choices, for comparison with published figures",
    recipe: {
      name: 'billm-reference',
      transform: { kind: 'none' },
      binarizer: structuredAsReference,
      compensation: { kind: 'reference', damping, hessian: 'per-block' },
      ...common,
      nominalBitsPerWeight: nominalBitsOf(structuredDefaults),
    },
  },
  uniform('rtn-1', 1, false),
  uniform('rtn-4', 4, false),
  uniform('rtn-8', 8, false),
  uniform('gptq-1', 1, true),
  uniform('gptq-2', 2, true),
  uniform('gptq-3', 3, true),
  uniform('gptq-4', 4, true),
  ...gridLevels.map(grid),
  {
    description:
      'natively binary and ternary models (Q1_0, Q2_0, TQ1_0, TQ2_0, BitNet, floats of two or three levels) exactly as they are; needs no calibration',
    recipe: {
      name: 'as-is',
      transform: { kind: 'none' },
      binarizer: { kind: 'as-is' },
      compensation: { kind: 'none', damping, hessian: 'per-stage' },
      ...common,
      nominalBitsPerWeight: null,
    },
  },
];

export const recipes: ReadonlyMap<string, RecipeEntry> = new Map(
  entries.map((entry) => [entry.recipe.name, entry]),
);
export const recipeNames: readonly string[] = [...recipes.keys()];

/** `grid-L+residual-P`: any grid, with a second, two-level grid over P percent of the columns. */
const residualName = /^(grid-\d+)\+residual-(\d+(?:\.\d+)?)$/;

/** How recipes that are not in the list may be named, for messages. */
export const recipeNamePattern = 'grid-L+residual-P (P percent of the columns, 1 to 50)';

/** The recipe of that name, or undefined where there is none. */
export function findRecipe(name: string): RecipeEntry | undefined {
  const match = residualName.exec(name);
  if (!match) return recipes.get(name);
  const entry = recipes.get(match[1] ?? '');
  const residualPercent = Number(match[2]);
  if (entry?.recipe.binarizer.kind !== 'grid') return undefined;
  if (residualPercent < minimumResidualPercent || residualPercent > maximumResidualPercent) return undefined;
  return {
    description: `${entry.description}; ${residualPercent}% of the columns hold a second, two-level grid for what is left over`,
    recipe: { ...entry.recipe, name, binarizer: { ...entry.recipe.binarizer, residualPercent } },
  };
}
