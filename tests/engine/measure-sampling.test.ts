import { describe, expect, it } from 'vitest';
import { createSampler, greedyToken, sampleToken } from '../../engine/model/sampling.ts';
import { SeededRandom } from '../../engine/model/seeded-random.ts';

/** Nucleus by the definition: sort all, add up, cut. */
function nucleusPlain(logits: Float32Array, temperature: number, topP: number): Map<number, number> {
  const weights = Array.from(logits, (logit) => Math.exp(logit / temperature));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const order = weights.map((_, id) => id).sort((a, b) => (weights[b] as number) - (weights[a] as number));
  const kept: number[] = [];
  let mass = 0;
  for (const id of order) {
    if (mass >= topP) break;
    kept.push(id);
    mass += (weights[id] as number) / total;
  }
  const keptWeight = kept.reduce((sum, id) => sum + (weights[id] as number), 0);
  return new Map(kept.map((id) => [id, (weights[id] as number) / keptWeight]));
}

function randomLogits(seed: number, count: number): Float32Array {
  const random = new SeededRandom(seed);
  return Float32Array.from({ length: count }, () => (random.nextDouble() - 0.5) * 8);
}

describe('sampling', () => {
  it('greedy takes the highest logit, of equals the lowest id', () => {
    expect(greedyToken(Float32Array.of(0, 3, 1, 3))).toBe(1);
    expect(greedyToken(Float32Array.of(Number.NaN, -5, Number.NaN))).toBe(1);
    expect(() => greedyToken(new Float32Array(3).fill(Number.NaN))).toThrow(
      'none of the 3 logits is a number',
    );
  });

  it.each([
    [1, 1],
    [0.7, 0.9],
    [2, 0.5],
    [0.05, 0.99],
  ])('at temperature %d and topP %d follows softmax over the nucleus', (temperature, topP) => {
    const logits = randomLogits(11, 30);
    const expected = nucleusPlain(logits, temperature, topP);
    const draws = 20_000;
    const counts = new Map<number, number>();
    // An even grid of points: frequencies are exact to one part in the number of draws for each token.
    for (let draw = 0; draw < draws; draw++) {
      const id = sampleToken(logits, temperature, topP, (draw + 0.5) / draws);
      counts.set(id, (counts.get(id) ?? 0) + 1);
    }
    for (const [id, probability] of expected)
      expect(Math.abs((counts.get(id) ?? 0) / draws - probability)).toBeLessThan(2 / draws);
    expect([...counts.keys()].every((id) => expected.has(id))).toBe(true);
  });

  it('is deterministic for a seed and differs between seeds', () => {
    const logits = randomLogits(1, 100);
    const tokens = (seed: number) => {
      const sampler = createSampler({ kind: 'sampled', temperature: 1, topP: 0.95, seed });
      return Array.from({ length: 50 }, () => sampler(logits));
    };
    expect(tokens(3)).toEqual(tokens(3));
    expect(tokens(3)).not.toEqual(tokens(4));
    // The same on every machine.
    expect(tokens(42).slice(0, 6)).toMatchInlineSnapshot(`
      [
        32,
        64,
        58,
        83,
        84,
        84,
      ]
    `);
  });

  it('survives infinite, undefined and equal logits', () => {
    expect(sampleToken(Float32Array.of(0, Number.POSITIVE_INFINITY, 0), 1, 0.9, 0.99)).toBe(1);
    expect(sampleToken(Float32Array.of(Number.NaN, Number.NEGATIVE_INFINITY, 1), 1, 1, 0.999)).toBe(2);
    expect(sampleToken(Float32Array.of(2, 2, 2, 2), 1, 0.5, 0.75)).toBe(1);
    expect(sampleToken(Float32Array.of(50, 0), 1e-3, 1, 0.999999)).toBe(0);
  });
});

describe('SeededRandom', () => {
  it('is uniform: mean, variance and equal tenths within six deviations', () => {
    const random = new SeededRandom(9);
    const count = 100_000;
    let sum = 0;
    let squares = 0;
    const tenths = new Float64Array(10);
    for (let draw = 0; draw < count; draw++) {
      const value = random.nextDouble();
      expect(value >= 0 && value < 1).toBe(true);
      sum += value;
      squares += value * value;
      tenths[Math.floor(value * 10)]! += 1;
    }
    expect(Math.abs(sum / count - 0.5)).toBeLessThan(6 * Math.sqrt(1 / 12 / count));
    expect(Math.abs(squares / count - 1 / 3)).toBeLessThan(6 * Math.sqrt(4 / 45 / count));
    for (const tenth of tenths)
      expect(Math.abs(tenth - count / 10)).toBeLessThan(6 * Math.sqrt(count * 0.09));
  });

  it('neighbouring and large seeds give unrelated numbers', () => {
    const first = [0, 1, 2, 3, 2 ** 32, 2 ** 32 + 1, 2 ** 53 - 1].map((seed) =>
      new SeededRandom(seed).nextUint32(),
    );
    expect(new Set(first).size).toBe(first.length);
    expect(new SeededRandom(0).nextUint32()).not.toBe(0);
  });
});
