import { expect, test } from 'vitest';
import { comparableMetrics, initialAxes } from '../../renderer/src/screens/runs/axes.ts';

const runs = (...metrics: Record<string, number>[]) => metrics.map((each) => ({ metrics: each }));

test('a comparison opens with stored bits against the ratio of perplexities, where two runs have both', () => {
  expect(
    initialAxes(
      runs(
        { bytes: 1, perplexity: 9, storedBitsPerWeight: 4, perplexityRatio: 1.1 },
        { bytes: 2, perplexity: 12, storedBitsPerWeight: 3, perplexityRatio: 1.4 },
        { bytes: 3 },
      ),
    ),
  ).toEqual({ x: 'storedBitsPerWeight', y: 'perplexityRatio' });
});

test('else with the first two metrics that differ, and that two runs have in common', () => {
  // Bits are the same, and only one run has a ratio.
  expect(
    initialAxes(
      runs(
        { storedBitsPerWeight: 4, perplexityRatio: 1.1, decodeTokensPerSecond: 100, bytes: 5 },
        { storedBitsPerWeight: 4, decodeTokensPerSecond: 120, bytes: 6 },
      ),
    ),
  ).toEqual({ x: 'bytes', y: 'decodeTokensPerSecond' });
  // Two metrics that differ, but no run has both.
  expect(
    initialAxes(
      runs({ perplexity: 1, loadMs: 5 }, { perplexity: 2, loadMs: 5 }, { durationMs: 1 }, { durationMs: 2 }),
    ),
  ).toEqual({ x: 'perplexity', y: 'loadMs' });
});

test('or against perplexity, where the ratio of one is not known', () => {
  expect(
    initialAxes(
      runs(
        { bytes: 1, perplexity: 9, storedBitsPerWeight: 4, perplexityRatio: 1.1 },
        { bytes: 2, perplexity: 12, storedBitsPerWeight: 3 },
      ),
    ),
  ).toEqual({ x: 'storedBitsPerWeight', y: 'perplexity' });
});

test('never with the same metric twice, and with none where there is no pair', () => {
  expect(initialAxes(runs({ perplexity: 9 }, { perplexity: 9 }))).toBeNull();
  expect(initialAxes(runs({ perplexity: 9 }, { loadMs: 9 }))).toBeNull();
  expect(initialAxes(runs({}, {}))).toBeNull();
  const equal = { bytes: 1, perplexity: 9 };
  expect(initialAxes(runs(equal, equal))).toEqual({ x: 'bytes', y: 'perplexity' });
});

test('metrics that only one run has are not compared', () => {
  expect(
    comparableMetrics(runs({ a: 1, bytes: 2, perplexityRatio: 1 }, { bytes: 3, perplexityRatio: 2 })),
  ).toEqual(['bytes', 'perplexityRatio']);
});
