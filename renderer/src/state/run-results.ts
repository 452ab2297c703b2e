import type { z } from 'zod';
import type { RunDetail } from '../../../engine/contract/history.ts';
import {
  type BenchmarkResult,
  benchmarkResultSchema,
  type PerplexityResult,
  perplexityResultSchema,
} from '../../../engine/contract/measurement.ts';
import { type QualityResult, qualityResultSchema } from '../../../engine/contract/quality.ts';
import { quantizeInputSchema, quantizeResultSchema } from '../../../engine/contract/quantization.ts';

const quantizedSchema = quantizeResultSchema.omit({ perplexity: true, quality: true, benchmark: true });
export type Quantized = z.infer<typeof quantizedSchema>;

/** A run's results in their own types. One that another version wrote in another shape is null, and its figures in the table still stand. */
export interface RunResults {
  quantize: Quantized | null;
  perplexity: PerplexityResult | null;
  quality: QualityResult | null;
  benchmark: BenchmarkResult | null;
}

export function resultsOf(run: RunDetail): RunResults {
  const { results } = run;
  return {
    quantize: quantizedSchema.safeParse(results.quantize).data ?? null,
    perplexity: perplexityResultSchema.safeParse(results.perplexity).data ?? null,
    quality: qualityResultSchema.safeParse(results.quality).data ?? null,
    benchmark: benchmarkResultSchema.safeParse(results.benchmark).data ?? null,
  };
}

/** What was asked of a quantization; null for other runs. */
export function requestOf(run: RunDetail) {
  return run.kind === 'quantize' ? (quantizeInputSchema.safeParse(run.settings).data ?? null) : null;
}
