import { z } from 'zod';

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

export const binarizerSchema = z.discriminatedUnion('kind', [
  structuredBinarizerSchema,
  uniformBinarizerSchema,
]);

/** Error compensation (method.md section 2). `none` is plain rounding. */
export const compensationSchema = z.strictObject({
  kind: z.enum(['none', 'reference', 'block', 'column']),
  /** Added to H's diagonal, as a fraction of its mean. */
  damping: z.number().min(0).max(1),
  /** Hessians from inputs behind the stages quantized before, or all of a block from its float weights. */
  hessian: z.enum(['per-stage', 'per-block']),
});

/** A recipe is data: transform × binarizer × compensation × activation bits. Field names are what `--set` takes. */
export const recipeSchema = z.strictObject({
  name: z.string(),
  transform: transformSchema,
  binarizer: binarizerSchema,
  compensation: compensationSchema,
  activationBits: activationBitsSchema,
  blockSize: z.int().min(1),
  /** The papers' own figure, shown beside the stored bits as "nominal"; null where there is none. */
  nominalBitsPerWeight: z.number().nullable(),
});

export type ActivationBits = z.infer<typeof activationBitsSchema>;
export type LtdbTransform = z.infer<typeof ltdbSchema>;
export type StructuredBinarizer = z.infer<typeof structuredBinarizerSchema>;
export type UniformBinarizer = z.infer<typeof uniformBinarizerSchema>;
export type Compensation = z.infer<typeof compensationSchema>;
export type Recipe = z.infer<typeof recipeSchema>;
