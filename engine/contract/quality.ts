import { z } from 'zod';
import { activationBitsSchema, countSchema, durationMsSchema, sha256Schema } from './common.ts';

/** A packed model beside the original on a text that neither was made from. */

export const verdictSchema = z.enum(['usable', 'degraded', 'broken']);
export type Verdict = z.infer<typeof verdictSchema>;

/** What a verdict was judged by. */
export const verdictThresholdsSchema = z.strictObject({
  usable: z.strictObject({ mostPerplexityRatio: z.number(), leastTopTokenAgreement: z.number() }),
  degraded: z.strictObject({ mostPerplexityRatio: z.number() }),
});
export type VerdictThresholds = z.infer<typeof verdictThresholdsSchema>;

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
  separatorId: countSchema.nullable(),
  /** Of the packed model, and of the original (16: not quantized). */
  activationBits: activationBitsSchema,
  originalActivationBits: activationBitsSchema,
});
export type QualityFigures = z.infer<typeof qualityFiguresSchema>;

export const qualityMeasurementSchema = qualityFiguresSchema.extend({
  kernelPath: z.string(),
  device: z.string(),
  durationMs: durationMsSchema,
});
export type QualityMeasurement = z.infer<typeof qualityMeasurementSchema>;
