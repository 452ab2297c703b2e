import { z } from 'zod';
import { type ActivationScales, activationScalesSchema } from '../contract/common.ts';

/** Bits of the input of every quantized linear; 16 = not quantized. */
export const activationBitsSchema = z.union([z.literal(16), z.literal(8), z.literal(6), z.literal(4)]);

/** Learnable Transformation for Dual-Bell (method.md section 1). */
export const ltdbSchema = z.strictObject({
  kind: z.literal('ltdb'),
  /** Exponent of the activation-aware start, T0 = max|X|^epsilon / max|W|^(1 − epsilon). */
  epsilon: z.number().min(0).max(1),
  /** Where the search for T stops: `start` keeps T0, `trained` runs SGD. */
  training: z.enum(['start', 'trained']),
  learningRate: z.number().positive(),
  maximumEpochs: z.int().min(0).max(10_000),
  /** Form of the loss that is differentiated. */
  loss: z.enum(['l2', 'l1']),
  /** `joint`: one max|W| over the linears of a stage (the reference code for OPT); `own`: each linear its own. */
  weightMaximum: z.enum(['own', 'joint']),
});

export const transformSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('none') }),
  ltdbSchema,
]);

/** A row of a block has at most 128 entries; thresholds finer than these choose nothing new. */
const maximumSplitPercentiles = 1024;

/** BiLLM's structured binarization (method.md section 2). */
export const structuredBinarizerSchema = z.strictObject({
  kind: z.literal('structured'),
  /** How a block's columns are ranked. */
  importance: z.enum(['hessian', 'magnitude']),
  /** What the salient-column and split searches minimise the error of: the importance S, W, or W weighted by importance. */
  searchOn: z.enum(['importance', 'weight', 'weighted-weight']),
  maximumSalientColumns: z.int().min(0).max(127),
  splitPercentiles: z.strictObject({
    first: z.number(),
    last: z.number(),
    count: z.int().min(1).max(maximumSplitPercentiles),
  }),
  /** Percentiles count salient columns as zeros (reference code) or leave them out. */
  percentilesOver: z.enum(['all-with-zeros', 'non-salient']),
});

/** Uniform grids by rounding, and one-bit with a mean. */
export const uniformBinarizerSchema = z.strictObject({
  kind: z.literal('uniform'),
  bits: z.int().min(1).max(8),
});

/** Numbers of levels that a grid may have; packages store log2 of them in bits, three levels also in base 3. */
export const gridLevels = [2, 3, 4, 8, 16] as const;

/** Less than one column in a hundred is below what one block of 128 columns can tell. */
export const minimumResidualPercent = 1;

/** Salient columns beyond this share would cost more bits than the next larger grid. */
export const maximumResidualPercent = 50;

/**
 * Symmetric grid with a scale for each row and block and one for each column, W_ij = c_j · r_i,b(j) · s_ij, fitted to the inputs' Gram matrix by
 * alternating closed forms and coordinate descent (method.md section 8).
 */
export const gridBinarizerSchema = z.strictObject({
  kind: z.literal('grid'),
  levels: z.literal(gridLevels),
  /** How often scales and codes are fitted in turn. */
  rounds: z.int().min(0).max(64),
  /** Passes of coordinate descent over the codes in each round. */
  sweeps: z.int().min(0).max(16),
  /**
   * Where c goes. `free`: into the norm in front where that is allowed, else it is stored and multiplies the input. `folded`: nothing is stored, what
   * cannot be folded into a norm or the linear in front has no c. `none`: c = 1.
   */
  columnScale: z.enum(['free', 'none', 'folded']),
  /** Ridge of the closed form of r, as a fraction of its diagonal; shrinks towards the value before. */
  rowRidge: z.number().min(0).max(1),
  /** The same of c. */
  columnRidge: z.number().min(0).max(1),
  /** Percent of a linear's columns that get a second, two-level grid for what the first left over. */
  residualPercent: z.number().min(0).max(maximumResidualPercent),
  /**
   * At this many activation bits or fewer the fit knows that activations are rounded: calibration sees the quantized stream with rounded activations, and c
   * the price of rounding. Above it the grid is the one of full-precision activations. Left out in recipes from before there was a choice: 8.
   */
  roundingAwareBits: z.literal([0, 4, 6, 8]).optional(),
});

/** The levels that the model was trained in, carried over exactly (as-is.ts). */
export const asIsBinarizerSchema = z.strictObject({ kind: z.literal('as-is') });

export const binarizerSchema = z.discriminatedUnion('kind', [
  structuredBinarizerSchema,
  uniformBinarizerSchema,
  gridBinarizerSchema,
  asIsBinarizerSchema,
]);

/** What the quantized weights are fitted to (method.md section 8). */
export const targetsSchema = z.strictObject({
  /**
   * `own`: the layer's own weights. `shifted`: the weights that best reproduce the full-precision outputs from the quantized model's inputs.
   * `residual`: the same for q/k/v and gate/up; o and down take what best brings the quantized residual stream back to the full-precision one.
   */
  kind: z.enum(['own', 'shifted', 'residual']),
  /** Pull towards the own weights: added to H's diagonal, as a fraction of its mean. */
  damping: z.number().min(0).max(1),
  /** For o and down each token weighs 1 / mean square of the full-precision residual stream behind them. */
  tokenWeights: z.boolean(),
});

/** The layer's own weights, all tokens alike: what a recipe without targets has, as recipes were before there were others. */
export const ownTargets = { kind: 'own', damping: 0.05, tokenWeights: false } as const;

/** Error compensation (method.md section 2). `none` is plain rounding. */
export const compensationSchema = z.strictObject({
  kind: z.enum(['none', 'reference', 'block', 'column']),
  /** Added to H's diagonal, as a fraction of its mean. */
  damping: z.number().min(0).max(1),
  /** Hessians from inputs behind the stages quantized before, or all of a block from its float weights. */
  hessian: z.enum(['per-stage', 'per-block']),
});

/** A recipe is data: transform × binarizer × targets × compensation × activation bits. Field names are what `--set` takes. */
export const recipeSchema = z.strictObject({
  name: z.string(),
  transform: transformSchema,
  binarizer: binarizerSchema,
  /** Left out where they are `ownTargets`. */
  targets: targetsSchema.optional(),
  compensation: compensationSchema,
  activationBits: activationBitsSchema,
  /** Left out where it is `token`, as in recipes from before there was a choice. */
  activationScales: activationScalesSchema.optional(),
  blockSize: z.int().min(1),
  /** The papers' own figure, shown beside the stored bits as "nominal"; null where there is none. */
  nominalBitsPerWeight: z.number().nullable(),
});

export type ActivationBits = z.infer<typeof activationBitsSchema>;
export type { ActivationScales } from '../contract/common.ts';
export type LtdbTransform = z.infer<typeof ltdbSchema>;
export type StructuredBinarizer = z.infer<typeof structuredBinarizerSchema>;
export type UniformBinarizer = z.infer<typeof uniformBinarizerSchema>;
export type GridBinarizer = z.infer<typeof gridBinarizerSchema>;
export type Targets = z.infer<typeof targetsSchema>;
export type Compensation = z.infer<typeof compensationSchema>;
export type Recipe = z.infer<typeof recipeSchema>;

/** The recipe's targets, the plain ones included. */
export function targetsOf(recipe: Recipe): Targets {
  return recipe.targets ?? ownTargets;
}

/** What shares a step of rounded activations in this recipe. */
export function activationScalesOf(recipe: Recipe): ActivationScales {
  return recipe.activationScales ?? 'token';
}

/** Bits of the activations that calibration sees in the quantized stream: a grid may leave their rounding out of its fit. */
export function calibrationActivationBits({ activationBits, binarizer }: Recipe): ActivationBits {
  const awareBits = binarizer.kind === 'grid' ? (binarizer.roundingAwareBits ?? 8) : 8;
  return activationBits > awareBits ? 16 : activationBits;
}
