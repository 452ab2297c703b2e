import { z } from 'zod';
import {
  activationBitsSchema,
  bytesSchema,
  countSchema,
  identifierSchema,
  jsonObjectSchema,
  nameSchema,
  pathSchema,
  storedEmbeddingBitsSchema,
  timeSchema,
} from './common.ts';
import { layerReportSchema, quantizeInputSchema, weightHistogramSchema } from './quantization.ts';

/** A packed model that is there: made by a run of the history, or found in the folder for packages. */
export const knownPackageSchema = z.object({
  path: pathSchema,
  name: z.string(),
  /** Null, like the figures, where it cannot be used; `problem` says why. */
  recipe: z.string().nullable(),
  storedBitsPerWeight: z.number().nullable(),
  activationBits: activationBitsSchema.nullable(),
  embeddingBits: storedEmbeddingBitsSchema.nullable(),
  /** All files of it: the weight file, tokenizer, config, quality and card. */
  bytes: bytesSchema.nullable(),
  problem: z.string().nullable(),
  createdAt: timeSchema.nullable(),
  /** The run that made it, where the history knows. */
  runId: identifierSchema.nullable(),
});
export type KnownPackage = z.infer<typeof knownPackageSchema>;

/** One quantized linear of a package, and what it costs. */
export const packageLayerSchema = layerReportSchema.extend({
  blockIndex: countSchema,
  weights: countSchema,
  storedBytes: bytesSchema,
  storedBitsPerWeight: z.number(),
});

/** Where a package's bytes are and what it lost, from its own files. */
export const packageQualitySchema = z.object({
  package: pathSchema,
  recipe: z.string(),
  layers: z.array(packageLayerSchema),
  /** Adds up to `bytes`. */
  parts: z.array(
    z.object({
      name: z.enum(['attention', 'mlp', 'embedding', 'head', 'other tensors', 'header', 'other files']),
      bytes: bytesSchema,
    }),
  ),
  bytes: bytesSchema,
  /** As the package keeps it: text, windows, fingerprint. */
  calibration: jsonObjectSchema,
  parameters: countSchema,
});

/** Weights of one row or column of a linear, in the original and in the package brought into the original's space, over one range. */
export const channelWeightsSchema = z.object({
  layer: z.string(),
  axis: z.enum(['row', 'column']),
  index: countSchema,
  outFeatures: countSchema,
  inFeatures: countSchema,
  original: weightHistogramSchema,
  packed: weightHistogramSchema,
  /** ‖w − ŵ‖² / ‖w‖² of this channel. */
  relativeError: z.number().nonnegative(),
  /** Whether factors that the recipe folded into other layers had to be fitted for the comparison. */
  isFitted: z.boolean(),
});

/** A quantization that ended before its package was complete and can be taken up by `resume { path }`. */
export const unfinishedRunSchema = z.object({
  path: pathSchema,
  runId: identifierSchema,
  model: pathSchema,
  recipe: z.string(),
  createdAt: timeSchema,
  updatedAt: timeSchema,
});

export const packageCalls = {
  /** Newest first. */
  'packages.list': { input: z.strictObject({}), output: z.object({ packages: z.array(knownPackageSchema) }) },
  'packages.quality': { input: z.strictObject({ package: pathSchema }), output: packageQualitySchema },
  /** Reads one layer of both; the original must be the model that the package was made from. */
  'packages.channelWeights': {
    input: z.strictObject({
      package: pathSchema,
      original: pathSchema,
      layer: nameSchema,
      /** A row is one output's weights, a column one input's. */
      axis: z.enum(['row', 'column']),
      /** From 0. */
      index: countSchema,
    }),
    output: channelWeightsSchema,
  },
  /** Newest first; those that a job of this service works on are left out. */
  'runs.unfinished': { input: z.strictObject({}), output: z.object({ runs: z.array(unfinishedRunSchema) }) },
  /** A place for a new package that is free, in the folder for packages. */
  'outputs.suggest': {
    input: z.strictObject({ model: pathSchema, recipe: nameSchema }),
    output: z.object({ path: pathSchema }),
  },
  /**
   * Whether `quantize` would take this place now; starts nothing. Throws what `quantize` would say of it, with the field `output`.
   */
  'outputs.check': {
    input: quantizeInputSchema,
    output: z.object({
      /** An unfinished run of this very request lies there, which `quantize` goes on with. */
      isUnfinished: z.boolean(),
    }),
  },
};
