import { z } from 'zod';
import {
  activationBitsSchema,
  bytesSchema,
  calibrationTextMarkSchema,
  contextSchema,
  countSchema,
  documentSeparatorSchema,
  durationMsSchema,
  identifierSchema,
  measuredActivationScalesSchema,
  pathSchema,
  sha256Schema,
  textSourceSchema,
  threadsSchema,
  windowCountSchema,
} from './common.ts';
import { generationResultSchema, samplingSchema } from './generation.ts';
import { limits } from './limits.ts';
import { verdictSchema, verdictThresholdsSchema } from './verdict.ts';

/** A packed model beside the original on a text that neither was made from. */

/** Of the positions' KL(original ‖ packed), natural logarithm. */
export const divergenceSchema = z.strictObject({
  mean: z.number().nonnegative(),
  /** Of the mean, from the spread of the windows' means; null below two windows. */
  standardError: z.number().nonnegative().nullable(),
  p50: z.number().nonnegative(),
  p90: z.number().nonnegative(),
  p95: z.number().nonnegative(),
  p99: z.number().nonnegative(),
  maximum: z.number().nonnegative(),
});

/** The figures themselves: what a package keeps of a measurement. */
export const qualityFiguresSchema = z.strictObject({
  /** Perplexities on the same tokens; null where not finite. */
  originalPerplexity: z.number().positive().nullable(),
  perplexity: z.number().positive().nullable(),
  /** perplexity / originalPerplexity. */
  perplexityRatio: z.number().positive().nullable(),
  perplexityRatioStandardError: z.number().nonnegative().nullable(),
  /** Share of the positions at which both models prefer the same token. */
  topTokenAgreement: z.number().min(0).max(1),
  topTokenAgreementStandardError: z.number().nonnegative().nullable(),
  klDivergenceNats: divergenceSchema,
  verdict: verdictSchema,
  thresholds: verdictThresholdsSchema,
  /** Scored positions: windows · (context − 1). */
  tokens: countSchema.min(1),
  context: countSchema.min(2),
  windows: countSchema.min(1),
  textName: z.string(),
  textSha256: sha256Schema,
  isCalibrationText: calibrationTextMarkSchema,
  separatorId: countSchema.nullable(),
  /** Of the packed model, and of the original (16: not quantized). */
  activationBits: activationBitsSchema,
  activationScales: measuredActivationScalesSchema,
  originalActivationBits: activationBitsSchema,
});
export type QualityFigures = z.infer<typeof qualityFiguresSchema>;

export const qualityMeasurementSchema = qualityFiguresSchema.extend({
  kernelPath: z.string(),
  device: z.string(),
  durationMs: durationMsSchema,
});
export type QualityMeasurement = z.infer<typeof qualityMeasurementSchema>;

/** Texts that both models write from the same prompt. */
export const samplesInputSchema = z.strictObject({
  /** Default: the first tokens of the text that is measured on. */
  prompts: z.array(z.string().min(1).max(limits.promptLength)).max(limits.samplePrompts).default([]),
  /** Most tokens of each. */
  tokens: z.number().int().min(1).max(limits.generateTokens).default(48),
  /** Every prompt is continued in each of these ways, by both models alike. */
  sampling: z
    .array(samplingSchema)
    .max(limits.samplePrompts)
    .default([{ kind: 'greedy' }, { kind: 'sampled', temperature: 0.8, topP: 0.95, seed: 0 }]),
});

/** How a measurement of quality is made, whatever is measured. */
export const qualitySettings = {
  text: textSourceSchema,
  /** Tokens of a window. Default: 2048, or the model's context length where that is shorter. */
  context: contextSchema.optional(),
  /** Default: as many as the text has. */
  windows: windowCountSchema.optional(),
} as const;

export const qualityInputSchema = z.strictObject({
  ...qualitySettings,
  /** What is judged: a package as a rule; a folder or .gguf file too. */
  model: pathSchema,
  /** What it stands for: the model in full precision. */
  against: pathSchema,
  documentSeparator: documentSeparatorSchema.default('default'),
  /** Of `model`; `against` is never quantized. */
  activationBits: activationBitsSchema.optional(),
  threads: threadsSchema.default(0),
  samples: samplesInputSchema.nullable().default(null),
  /** Whether the history and the package keep it. */
  remember: z.boolean().default(true),
});
export type QualityInput = z.infer<typeof qualityInputSchema>;

const writtenTextSchema = generationResultSchema.pick({ text: true, tokenIds: true, finishReason: true });

/** The same prompt, the same way of choosing, continued by both. */
export const sampleSchema = z.object({
  prompt: z.string(),
  sampling: samplingSchema,
  original: writtenTextSchema,
  model: writtenTextSchema,
});
export type QualitySample = z.infer<typeof sampleSchema>;

export const qualityResultSchema = qualityMeasurementSchema.extend({
  model: pathSchema,
  /** Of a package; null for a model in full precision. */
  recipe: z.string().nullable(),
  against: pathSchema,
  /** Weight files of both. */
  modelBytes: bytesSchema,
  againstBytes: bytesSchema,
  samples: z.array(sampleSchema),
  /** Of the process that held both models. */
  peakRssBytes: bytesSchema,
  runId: identifierSchema.nullable(),
});
export type QualityResult = z.infer<typeof qualityResultSchema>;

export const qualityCalls = {
  /** Starts a job that compares a packed model with its original on a text. */
  quality: {
    input: qualityInputSchema,
    output: z.object({ jobId: identifierSchema, runId: identifierSchema.nullable() }),
  },
};
