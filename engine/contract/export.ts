import { z } from 'zod';
import { bytesSchema, countSchema, identifierSchema, pathSchema } from './common.ts';

/**
 * `blocks`: types of GGUF that hold the package's codes and scales. `f16`: every weight dequantized, in 16 bits: for packages that no such type holds, and to see
 * what a program computes from the same weights where its kernels do not round activations to 8 bits.
 */
export const exportWeightsSchema = z.enum(['blocks', 'f16']);
export type ExportWeights = z.infer<typeof exportWeightsSchema>;

export const exportInputSchema = z.strictObject({
  package: pathSchema,
  /** What llama.cpp and programs built on it load. */
  format: z.literal('gguf'),
  out: pathSchema,
  /**
   * `exact`: refuse what would be rounded. `closest`: round only where no type of the format is exact. `compact`: take the smaller type even where it
   * rounds.
   */
  rounding: z.enum(['exact', 'closest', 'compact']).default('closest'),
  weights: exportWeightsSchema.default('blocks'),
});
export type ExportInput = z.output<typeof exportInputSchema>;

export const exportResultSchema = z.object({
  package: pathSchema,
  out: pathSchema,
  format: z.literal('gguf'),
  bytes: bytesSchema,
  /** The weight file of the package that it was made from. */
  packageBytes: bytesSchema,
  /** Tensors by ggml's type. */
  types: z.record(z.string(), z.object({ tensors: countSchema, bytes: bytesSchema })),
  /** What is not exactly the package's, in words. */
  notes: z.array(z.string()),
});
export type ExportResult = z.infer<typeof exportResultSchema>;

export const exportCalls = {
  /** Starts a job that writes a package in another program's format. What does not map is refused with the reason. */
  export: {
    input: exportInputSchema,
    output: z.object({ jobId: identifierSchema, runId: identifierSchema.nullable() }),
  },
};
