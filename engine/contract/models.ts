import { z } from 'zod';
import {
  activationBitsSchema,
  activationScalesSchema,
  bytesSchema,
  calibrationTextMarkSchema,
  countSchema,
  measuredActivationScalesSchema,
  pathSchema,
  problemSchema,
  storedEmbeddingBitsSchema,
  storedTableSchema,
  timeSchema,
} from './common.ts';
import { qualityFiguresSchema } from './quality.ts';

export const modelFormatSchema = z.enum(['huggingface', 'gguf', 'package']).nullable();

/** What `inspect` says of a model, from its headers alone. */
export const modelDescriptionSchema = z.object({
  path: pathSchema,
  /** Null where it is neither. */
  format: modelFormatSchema,
  /** False when a problem of severity `error` was found; then the rest may be null. */
  usable: z.boolean(),
  family: z.string().nullable(),
  modelType: z.string().nullable(),
  parameters: countSchema.nullable(),
  /** Weights that quantization would change. */
  quantizableParameters: countSchema.nullable(),
  /** Weight files alone; of a package model.safetensors. */
  fileBytes: bytesSchema.nullable(),
  /** By stored element type. */
  storedTypes: z.record(z.string(), z.object({ tensors: countSchema, bytes: bytesSchema })),
  architecture: z
    .object({
      blocks: countSchema,
      hiddenSize: countSchema,
      intermediateSize: countSchema,
      heads: countSchema,
      keyValueHeads: countSchema,
      headDimension: countSchema,
      vocabularySize: countSchema,
      contextLength: countSchema,
      activation: z.string(),
      mlp: z.string(),
      norm: z.string(),
      position: z.string(),
      tiedHead: z.boolean(),
      slidingWindow: countSchema.nullable(),
    })
    .nullable(),
  /** The linears of one block, in the order in which they are quantized. */
  linears: z.array(z.object({ role: z.string(), inFeatures: countSchema, outFeatures: countSchema })),
  /**
   * Where all linears have two or three levels, so that the recipe `as-is` keeps them exactly; found by stored types, or by some rows of float weights
   * (`isStored` false). Null for other models and for packages.
   */
  lowBit: z
    .object({
      levels: z.union([z.literal(2), z.literal(3)]),
      storedTypes: z.array(z.string()),
      isStored: z.boolean(),
    })
    .nullable(),
  hasChatTemplate: z.boolean(),
  license: z.string().nullable(),
  problems: z.array(problemSchema),
  /** What a package says of itself; null for a model. */
  package: z
    .object({
      recipe: z.string(),
      /** All files: the weight file, tokenizer, config, quality and card. */
      bytes: bytesSchema,
      activationBits: activationBitsSchema,
      activationScales: activationScalesSchema,
      embeddingBits: storedEmbeddingBitsSchema,
      tables: z.array(storedTableSchema),
      storedBitsPerWeight: z.number(),
      nominalBitsPerWeight: z.number().nullable(),
      perplexities: z.array(
        z.object({
          perplexity: z.number(),
          tokens: countSchema,
          context: countSchema,
          windows: countSchema,
          textName: z.string(),
          activationBits: activationBitsSchema,
          activationScales: measuredActivationScalesSchema,
          isCalibrationText: calibrationTextMarkSchema,
        }),
      ),
      /** How it was judged beside an original, as `quality` does; empty where it never was. */
      comparisons: z.array(
        qualityFiguresSchema.extend({
          /** Whether the original was the very model that the package was made from. */
          isAgainstSource: z.boolean(),
        }),
      ),
    })
    .nullable(),
});
export type ModelDescription = z.infer<typeof modelDescriptionSchema>;

/** A model that is offered without being looked for. */
export const knownModelSchema = z.object({
  path: pathSchema,
  name: z.string(),
  format: modelFormatSchema,
  exists: z.boolean(),
  /** When it was last looked at; null for what comes with the product. */
  usedAt: timeSchema.nullable(),
});
export type KnownModel = z.infer<typeof knownModelSchema>;

export const modelCalls = {
  /** Headers, architecture, problems; reads no weights. */
  inspect: {
    /** `remember`: offer it again in `models.list`, if it is usable. */
    input: z.strictObject({ model: pathSchema, remember: z.boolean().default(false) }),
    output: modelDescriptionSchema,
  },
  /** Newest first. */
  'models.list': {
    input: z.strictObject({}),
    output: z.object({ bundled: z.array(knownModelSchema), recent: z.array(knownModelSchema) }),
  },
  /** Takes a model out of the recent ones; its files stay. */
  'models.forget': { input: z.strictObject({ path: pathSchema }), output: z.object({}) },
};
