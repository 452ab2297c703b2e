import type { RunDetail } from '../contract/history.ts';

/** By which figure a measurement of a kind is known: every one of that kind has it. */
const markOf = {
  quality: 'perplexityRatio',
  perplexity: 'perplexity',
  benchmark: 'decodeTokensPerSecond',
} as const;

/** The figures of a quantization's row: as `withMeasurements`, by figures alone. `newest` has the figures of the newest measurement of each kind. */
export function figuresWithMeasurements(
  own: Record<string, number>,
  newest: Partial<Record<RunDetail['kind'], Record<string, number>>>,
): Record<string, number> {
  const missing = missingKinds((kind) => own[markOf[kind]] !== undefined, newest);
  return joined(own, missing.quality, missing.perplexity, missing.benchmark);
}

/** Of the newest measurements those that stand in: a run's own come first, and a comparison with the original makes a perplexity by itself needless. */
function missingKinds<T>(
  has: (kind: keyof typeof markOf) => boolean,
  newest: Partial<Record<RunDetail['kind'], T>>,
): Partial<Record<keyof typeof markOf, T>> {
  const quality = has('quality') ? undefined : newest.quality;
  const hasQuality = has('quality') || quality !== undefined;
  return {
    quality,
    perplexity: has('perplexity') || hasQuality ? undefined : newest.perplexity,
    benchmark: has('benchmark') ? undefined : newest.benchmark,
  };
}

function joined(
  own: Record<string, number>,
  quality: Record<string, number> | undefined,
  perplexity: Record<string, number> | undefined,
  benchmark: Record<string, number> | undefined,
): Record<string, number> {
  return { ...perplexity, ...benchmark, ...own, ...quality };
}

/**
 * A quantization with the newest measurement of each kind that it did not make itself, for comparisons: results and figures as if they had been measured in the
 * same run. A comparison with the original replaces a perplexity of the run's own, since its figures belong together and may be of another text.
 * `measurements` are newest first.
 */
export function withMeasurements(run: RunDetail, measurements: readonly RunDetail[]): RunDetail {
  const newest: Partial<Record<RunDetail['kind'], RunDetail>> = {};
  for (const measured of measurements) newest[measured.kind] ??= measured;
  const { quality, perplexity, benchmark } = missingKinds((kind) => run.results[kind] !== undefined, newest);
  const results = { ...run.results };
  for (const measured of [benchmark, perplexity, quality])
    if (measured !== undefined) results[measured.kind] = measured.results[measured.kind] ?? null;
  if (quality !== undefined) delete results.perplexity;
  const metrics = joined(run.metrics, quality?.metrics, perplexity?.metrics, benchmark?.metrics);
  return { ...run, results, metrics };
}
