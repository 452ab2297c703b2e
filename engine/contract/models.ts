import { z } from 'zod';
import {
  activationBitsSchema,
  bytesSchema,
  countSchema,
  embeddingBitsSchema,
  pathSchema,
  problemSchema,
} from './common.ts';

/** What `inspect` says of a model, from its headers alone. */
export const modelDescriptionSchema = z.object({
  path: pathSchema,
  /** Null where it is neither. */
  format: z.enum(['huggingface', 'gguf', 'package']).nullable(),
  /** False when a problem of severity `error` was found; then the rest may be null. */
  usable: z.boolean(),
  family: z.string().nullable(),
  modelType: z.string().nullable(),
  parameters: countSchema.nullable(),
  /** Weights that quantization would change. */
  quantizableParameters: countSchema.nullable(),
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
  hasChatTemplate: z.boolean(),
  license: z.string().nullable(),
  problems: z.array(problemSchema),
  /** What a package says of itself; null for a model. */
  package: z
    .object({
      recipe: z.string(),
      activationBits: activationBitsSchema,
      embeddingBits: embeddingBitsSchema,
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
        }),
      ),
    })
    .nullable(),
});
export type ModelDescription = z.infer<typeof modelDescriptionSchema>;

export const modelCalls = {
  /** Headers, architecture, problems; reads no weights. */
  inspect: { input: z.strictObject({ model: pathSchema }), output: modelDescriptionSchema },
};
