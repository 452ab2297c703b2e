import { expect, test } from 'vitest';
import { quantizationCalls } from '../../engine/contract/quantization.ts';
import { MeasuredSpeeds } from '../../engine/service/measured-speeds.ts';

const operations = 1e12;
const input = (context: number) =>
  quantizationCalls.estimate.input.parse({ model: 'model', recipe: 'gptq-4', context });
const estimate = (operationsPerSecond: number | null) => {
  const expected = (1000 * operations) / (operationsPerSecond ?? 1e9);
  return {
    ...{
      recipe: 'gptq-4',
      windows: 1,
      context: 128,
      packageBytes: 1,
      packageItems: [],
      gguf: { bytes: null, problem: null, asHalf: true },
      storedBitsPerWeight: 4,
    },
    ...{ peakMemoryBytes: 1, memoryItems: [], diskBytes: 1, diskItems: [], problems: [], notes: [] },
    ...{ availableMemoryBytes: null, availableDiskBytes: null, operationsPerSecond },
    timeMs: { low: 0.7 * expected, expected, high: 1.8 * expected, basis: 'measured' as const },
  };
};

test('an estimate does not jump where one measurement of the speed meets a busy machine', () => {
  const speeds = new MeasuredSpeeds();
  const first = speeds.smoothed(input(128), estimate(10e9)).timeMs;
  expect(first.expected).toBeCloseTo(100_000);
  const busy = speeds.smoothed(input(128), estimate(2e9)).timeMs;
  expect(busy.expected).toBeCloseTo((1000 * operations) / 7.6e9);
  expect(busy.high / busy.expected).toBeCloseTo(1.8);
  // Quiet again, and slow for good.
  expect(speeds.smoothed(input(128), estimate(10e9)).timeMs.expected).toBeLessThan(1.3 * first.expected);
  for (let index = 0; index < 20; index++) speeds.smoothed(input(128), estimate(2e9));
  expect(speeds.smoothed(input(128), estimate(2e9)).timeMs.expected).toBeCloseTo(500_000, -4);
});

test('other work has its own speed, and one that was not measured is passed on as it is', () => {
  const speeds = new MeasuredSpeeds();
  speeds.smoothed(input(128), estimate(10e9));
  expect(speeds.smoothed(input(2048), estimate(2e9)).timeMs.expected).toBeCloseTo(500_000);
  const assumed = speeds.smoothed(input(128), estimate(null));
  expect(assumed.timeMs.expected).toBeCloseTo(1_000_000);
  expect(assumed).not.toHaveProperty('operationsPerSecond');
});
