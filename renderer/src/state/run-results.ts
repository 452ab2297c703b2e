import type { z } from 'zod';
import type { RunDetail } from '../../../engine/contract/history.ts';
import {
  type BenchmarkResult,
  benchmarkResultSchema,
  type PerplexityResult,
  perplexityResultSchema,
} from '../../../engine/contract/measurement.ts';
import { type QualityResult, qualityResultSchema } from '../../../engine/contract/quality.ts';
import {
  followUpSchema,
  type Quantized,
  quantizedSchema,
  quantizeInputSchema,
  type VerifyResult,
  verifyResultSchema,
} from '../../../engine/contract/quantization.ts';
import { inStandingOrder } from '../../../engine/contract/standing-measurements.ts';

/** A run's results in their own types. One that another version wrote in another shape is null, and its figures in the table still stand. */
export interface RunResults {
  quantize: Quantized | null;
  verify: VerifyResult | null;
  perplexity: PerplexityResult | null;
  quality: QualityResult | null;
  benchmark: BenchmarkResult | null;
  /** Runs of their own from which a result comes that the run does not have itself. */
  measuredBy: Partial<Record<MeasuredKind, RunDetail>>;
}
type MeasuredKind = 'verify' | 'perplexity' | 'quality' | 'benchmark';

/** `measurements` of a quantization's package, newest first: of each kind that the run itself has not, one stands in (`inStandingOrder`). */
export function resultsOf(run: RunDetail, measurements: readonly RunDetail[] = []): RunResults {
  const measuredBy: RunResults['measuredBy'] = {};
  const standing = inStandingOrder(measurements, run.activationBits);
  const find = <T>(kind: MeasuredKind, schema: z.ZodType<T>): T | null => {
    const own = schema.safeParse(run.results[kind]).data;
    if (own !== undefined) return own;
    for (const measured of standing) {
      const result = measured.kind === kind ? schema.safeParse(measured.results[kind]).data : undefined;
      if (result === undefined) continue;
      measuredBy[kind] = measured;
      return result;
    }
    return null;
  };
  return {
    quantize: quantizedSchema.safeParse(run.results.quantize).data ?? null,
    verify: newestVerification(run, measurements, measuredBy),
    perplexity: find('perplexity', perplexityResultSchema),
    quality: find('quality', qualityResultSchema),
    benchmark: find('benchmark', benchmarkResultSchema),
    measuredBy,
  };
}

/** A package may be damaged after it was made: what was found last counts. */
function newestVerification(
  run: RunDetail,
  measurements: readonly RunDetail[],
  measuredBy: RunResults['measuredBy'],
): VerifyResult | null {
  for (const measured of measurements) {
    const found = verifyResultSchema.safeParse(measured.results.verify).data;
    if (found === undefined) continue;
    measuredBy.verify = measured;
    return found;
  }
  return verifyResultSchema.safeParse(run.results.verify).data ?? null;
}

/** What was asked of a quantization; null for other runs. */
export function requestOf(run: RunDetail) {
  return run.kind === 'quantize' ? (quantizeInputSchema.safeParse(run.settings).data ?? null) : null;
}

/**
 * How long what followed a quantization took, in milliseconds, pauses included, where the very same was asked to follow; null otherwise. Nothing else says
 * beforehand how fast a package that is not made yet will be read.
 */
export function followUpMs(run: RunDetail, wanted: z.input<typeof followUpSchema>): number | null {
  const made = quantizedSchema.safeParse(run.results.quantize).data;
  const request = requestOf(run);
  if (run.state !== 'finished' || run.endedAt === null || !request) return null;
  if (!made || made.durationMs === null || made.resumedTimes > 0) return null;
  if (JSON.stringify(request.followUp) !== JSON.stringify(followUpSchema.parse(wanted))) return null;
  const tookMs = Date.parse(run.endedAt) - Date.parse(run.createdAt) - made.durationMs;
  return tookMs > 0 ? tookMs : null;
}
