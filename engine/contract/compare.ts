import { z } from 'zod';
import {
  activationBitsSchema,
  activationScalesSchema,
  bytesSchema,
  calibrationTextMarkSchema,
  contextSchema,
  countSchema,
  documentSeparatorSchema,
  identifierSchema,
  jsonObjectSchema,
  measuredActivationScalesSchema,
  pathSchema,
  sha256Schema,
  textSourceSchema,
  threadsSchema,
  windowCountSchema,
} from './common.ts';
import { limits } from './limits.ts';
import { verdictSchema, verdictThresholdsSchema } from './verdict.ts';

/** Packages side by side, the model they were made from among them if wanted. */
export const compareInputSchema = z.strictObject({
  /** Packages; models in full precision too. The first model is what packages are judged against. */
  subjects: z.array(pathSchema).min(1).max(limits.compareSubjects),
  /** What is not yet measured on this text is measured; without it only what the packages carry is shown. */
  text: textSourceSchema.optional(),
  /** Tokens of a window. Default: 2048, or the model's context length where that is shorter. */
  context: contextSchema.optional(),
  /** Default: as many as the text has. */
  windows: windowCountSchema.optional(),
  documentSeparator: documentSeparatorSchema.default('default'),
  threads: threadsSchema.default(0),
  /** Whether packages and the history keep what is measured. */
  remember: z.boolean().default(true),
});
export type CompareInput = z.infer<typeof compareInputSchema>;

/** What was measured of one subject on one text. Null where only a perplexity was measured. */
export const comparedMeasurementSchema = z.object({
  textName: z.string(),
  textSha256: sha256Schema,
  isCalibrationText: calibrationTextMarkSchema,
  context: countSchema,
  windows: countSchema,
  tokens: countSchema,
  activationBits: activationBitsSchema,
  activationScales: measuredActivationScalesSchema,
  perplexity: z.number().nullable(),
  perplexityRatio: z.number().nullable(),
  topTokenAgreement: z.number().nullable(),
  klDivergenceNats: z.number().nullable(),
  verdict: verdictSchema.nullable(),
  thresholds: verdictThresholdsSchema.nullable(),
  /** Fingerprint of the original that it was compared with. */
  originalFingerprint: sha256Schema.nullable(),
});
export type ComparedMeasurement = z.infer<typeof comparedMeasurementSchema>;

/** A package or model as its files describe it. What a model in full precision does not have is null or empty. */
export const comparedSubjectSchema = z.object({
  path: pathSchema,
  /** Name of the folder or file. */
  name: z.string(),
  isPackage: z.boolean(),
  recipe: z.string().nullable(),
  /** The whole recipe, for what differs. */
  recipeSettings: jsonObjectSchema.nullable(),
  activationBits: activationBitsSchema,
  activationScales: activationScalesSchema.nullable(),
  embeddingBits: countSchema.nullable(),
  storedBitsPerWeight: z.number().nullable(),
  parameters: countSchema,
  /** Weight files alone; of a package model.safetensors. */
  modelBytes: bytesSchema,
  /** All files of a package, with tokenizer, config, quality and card; null for a model in full precision. */
  bytes: bytesSchema.nullable(),
  bytesByPart: z.array(z.object({ name: z.string(), bytes: bytesSchema })),
  calibration: z.object({ name: z.string(), windows: countSchema, context: countSchema }).nullable(),
  /** Of the model in full precision. */
  sourceFingerprint: sha256Schema,
  meanRelativeError: z.number().nullable(),
  layers: z.array(
    z.object({
      name: z.string(),
      relativeError: z.number(),
      weightRelativeError: z.number(),
      storedBitsPerWeight: z.number(),
    }),
  ),
  measurements: z.array(comparedMeasurementSchema),
});
export type ComparedSubject = z.infer<typeof comparedSubjectSchema>;

const rowSchema = z.object({ field: z.string(), values: z.array(z.json()) });

/** Everything by field, one value for each subject in their order. */
export const compareResultSchema = z.object({
  subjects: z.array(comparedSubjectSchema),
  /** Settings in which the subjects differ, then those in which they agree. */
  differences: z.array(rowSchema),
  agreements: z.array(rowSchema),
  /** Figures by text and windows: only those of one group may be compared. Groups that cover more subjects come first. */
  groups: z.array(
    comparedMeasurementSchema
      .pick({ textName: true, textSha256: true, context: true, windows: true, tokens: true })
      .extend({ values: z.array(comparedMeasurementSchema.nullable()) }),
  ),
  /** What must be known before figures are compared, in words. */
  warnings: z.array(z.string()),
});
export type CompareResult = z.infer<typeof compareResultSchema>;

export const compareCalls = {
  /** Starts a job that describes the subjects and, with a text, measures what is missing. */
  compare: {
    input: compareInputSchema,
    output: z.object({ jobId: identifierSchema, runId: identifierSchema.nullable() }),
  },
};
