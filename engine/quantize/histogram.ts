import { histogramBins } from './limits.ts';
import type { ChannelMaxima, WeightHistogram } from './progress.ts';

/** Smallest and largest of values, `[0, 0]` of none. */
export function rangeOf(values: Float32Array): [number, number] {
  let minimum = Number.POSITIVE_INFINITY;
  let maximum = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    if (value < minimum) minimum = value;
    if (value > maximum) maximum = value;
  }
  return values.length === 0 ? [0, 0] : [minimum, maximum];
}

/** Histogram of a weight's values over their own range, or over one that holds them all; values are finite. */
export function weightHistogram(
  values: Float32Array,
  [minimum, maximum]: [number, number] = rangeOf(values),
  bins = histogramBins,
): WeightHistogram {
  const counts = new Array<number>(bins).fill(0);
  const width = (maximum - minimum) / bins;
  for (const value of values) {
    const bin = width > 0 ? Math.min(bins - 1, Math.floor((value - minimum) / width)) : 0;
    counts[bin] = (counts[bin] ?? 0) + 1;
  }
  return { minimum, maximum, counts };
}

/**
 * Maxima of the channels in at most `histogramBins` groups of neighbours.
 *
 * @param absMax max|X_j|, `[in]`
 * @param scale T, `[in]`: the input is divided by it; null where nothing is transformed
 */
export function channelMaxima(absMax: Float32Array, scale: Float32Array | null): ChannelMaxima {
  const channels = absMax.length;
  const groups = Math.min(histogramBins, channels);
  const before = new Array<number>(groups).fill(0);
  const after = new Array<number>(groups).fill(0);
  for (let channel = 0; channel < channels; channel += 1) {
    const group = Math.floor((channel * groups) / channels);
    const value = absMax[channel] ?? 0;
    before[group] = Math.max(before[group] ?? 0, value);
    after[group] = Math.max(after[group] ?? 0, value / Math.abs(scale?.[channel] ?? 1));
  }
  return { channels, before, after };
}
