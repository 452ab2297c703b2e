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
  const missing = (kind: keyof typeof markOf) => (own[markOf[kind]] === undefined ? newest[kind] : undefined);
  const quality = missing('quality');
  return {
    ...(quality || own[markOf.quality] !== undefined ? {} : missing('perplexity')),
    ...missing('benchmark'),
    ...own,
    ...quality,
  };
}

/**
 * A quantization with the newest measurement of each kind that it did not make itself, for comparisons: results and figures as if they had been measured in the
 * same run. A comparison with the original replaces a perplexity of the run's own, since its figures belong together and may be of another text.
 * `measurements` are newest first.
 */
export function withMeasurements(run: RunDetail, measurements: readonly RunDetail[]): RunDetail {
  const newest = (kind: RunDetail['kind']) =>
    run.results[kind] === undefined ? measurements.find((measured) => measured.kind === kind) : undefined;
  const quality = newest('quality');
  const perplexity = run.results.quality === undefined && !quality ? newest('perplexity') : undefined;
  const results = { ...run.results };
  let { metrics } = run;
  for (const measured of [newest('benchmark'), perplexity]) {
    if (measured === undefined) continue;
    results[measured.kind] = measured.results[measured.kind] ?? null;
    metrics = { ...measured.metrics, ...metrics };
  }
  if (quality !== undefined) {
    results.quality = quality.results.quality ?? null;
    delete results.perplexity;
    metrics = { ...metrics, ...quality.metrics };
  }
  return { ...run, results, metrics };
}
