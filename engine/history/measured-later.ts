import type { RunDetail } from '../contract/history.ts';
import { inStandingOrder } from '../contract/standing-measurements.ts';

/** By which figure a measurement of a kind is known: every one of that kind has it. */
const markOf = {
  quality: 'perplexityRatio',
  perplexity: 'perplexity',
  benchmark: 'decodeTokensPerSecond',
} as const;

interface Measurement {
  kind: RunDetail['kind'];
  activationBits: number | null;
  metrics: Record<string, number>;
}

/**
 * The figures of a quantization's row: as `withMeasurements`, by figures alone. `measurements` are newest first.
 */
export function figuresWithMeasurements(
  own: Record<string, number>,
  activationBits: number | null,
  measurements: readonly Measurement[],
): Record<string, number> {
  const { quality, perplexity, benchmark } = missingKinds(
    (kind) => own[markOf[kind]] !== undefined,
    chosenOfEachKind(measurements, activationBits),
  );
  return joined(own, quality?.metrics, perplexity?.metrics, benchmark?.metrics);
}

/** The measurement of each kind that stands for the package. `measurements` are newest first. */
function chosenOfEachKind<T extends Measurement>(
  measurements: readonly T[],
  activationBits: number | null,
): Partial<Record<RunDetail['kind'], T>> {
  const chosen: Partial<Record<RunDetail['kind'], T>> = {};
  for (const measured of inStandingOrder(measurements, activationBits)) chosen[measured.kind] ??= measured;
  return chosen;
}

/** Of the chosen measurements those that stand in: a run's own come first, and a comparison with the original makes a perplexity by itself needless. */
function missingKinds<T>(
  has: (kind: keyof typeof markOf) => boolean,
  chosen: Partial<Record<RunDetail['kind'], T>>,
): Partial<Record<keyof typeof markOf, T>> {
  const quality = has('quality') ? undefined : chosen.quality;
  const hasQuality = has('quality') || quality !== undefined;
  return {
    quality,
    perplexity: has('perplexity') || hasQuality ? undefined : chosen.perplexity,
    benchmark: has('benchmark') ? undefined : chosen.benchmark,
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
 * A quantization with the measurement of each kind that it did not make itself (`chosenOfEachKind`), for comparisons: results and figures as if they had been measured in the
 * same run. A comparison with the original replaces a perplexity of the run's own, since its figures belong together and may be of another text.
 * `measurements` are newest first.
 */
export function withMeasurements(run: RunDetail, measurements: readonly RunDetail[]): RunDetail {
  const { quality, perplexity, benchmark } = missingKinds(
    (kind) => run.results[kind] !== undefined,
    chosenOfEachKind(measurements, run.activationBits),
  );
  const results = { ...run.results };
  for (const measured of [benchmark, perplexity, quality])
    if (measured !== undefined) results[measured.kind] = measured.results[measured.kind] ?? null;
  if (quality !== undefined) delete results.perplexity;
  const metrics = joined(run.metrics, quality?.metrics, perplexity?.metrics, benchmark?.metrics);
  return { ...run, results, metrics };
}
