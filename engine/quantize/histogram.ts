import { histogramBins } from './limits.ts';
import type { WeightHistogram } from './progress.ts';

/** Histogram of a weight's values over their own range; values are finite. */
export function weightHistogram(values: Float32Array): WeightHistogram {
  let minimum = Number.POSITIVE_INFINITY;
  let maximum = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    if (value < minimum) minimum = value;
    if (value > maximum) maximum = value;
  }
  const counts = new Array<number>(histogramBins).fill(0);
  if (values.length === 0) return { minimum: 0, maximum: 0, counts };
  const width = (maximum - minimum) / histogramBins;
  for (const value of values) {
    const bin = width > 0 ? Math.min(histogramBins - 1, Math.floor((value - minimum) / width)) : 0;
    counts[bin] = (counts[bin] ?? 0) + 1;
  }
  return { minimum, maximum, counts };
}
