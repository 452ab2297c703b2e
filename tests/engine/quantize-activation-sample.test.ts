import { expect, it } from 'vitest';
import { ActivationSample } from '../../engine/quantize/activation-sample.ts';
import { activationSampleTokens } from '../../engine/quantize/limits.ts';

/** Inputs that say where they come from: window and token. */
const inputs = (window: number, context: number): Float32Array =>
  Float32Array.from({ length: 2 * context }, (_, index) => (index % 2 === 0 ? window : (index - 1) / 2));

it.each([
  [3, 16],
  [1, 1],
  [64, 512],
  [96, 512],
  [7, 1000],
])(
  'a sample of %i windows of %i tokens is spread evenly, at other positions of each window',
  (windows, context) => {
    const sample = new ActivationSample(windows, context, 2);
    const hidden = new Float32Array(0);
    for (let window = 0; window < windows; window++)
      sample.add(
        window,
        { hidden, stageInput: inputs(window, context) },
        window % 2 ? new Float32Array(context).fill(3) : null,
      );
    const { inputs: taken, weights } = sample.result();
    const count = weights.length;
    expect(taken.length).toBe(2 * count);
    expect(count).toBeLessThanOrEqual(2 * activationSampleTokens);
    expect(count).toBeGreaterThanOrEqual(Math.min(windows * context, activationSampleTokens / 2));
    const places = Array.from(
      { length: count },
      (_, index) => taken[2 * index]! * context + taken[2 * index + 1]!,
    );
    const strides = new Set(places.slice(1).map((place, index) => place - places[index]!));
    expect(strides.size).toBeLessThanOrEqual(1);
    const positions = new Set(Array.from({ length: count }, (_, index) => taken[2 * index + 1]!));
    if (windows * context > activationSampleTokens) expect(positions.size).toBeGreaterThan(count / windows);
    for (const [index, weight] of weights.entries())
      expect(weight).toBeCloseTo(((taken[2 * index]! % 2 ? 3 : 1) * 2) / count, 6);
  },
);
