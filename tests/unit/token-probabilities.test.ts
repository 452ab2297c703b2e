import { describe, expect, test } from 'vitest';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import { likelyTokens } from '../../engine/model/token-probabilities.ts';

/** The plain definition: all probabilities, sorted. */
function plain(logits: Float32Array, count: number) {
  const maximum = Math.max(...logits);
  const weights = [...logits].map((logit) => Math.exp(logit - maximum));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights
    .map((weight, id) => ({ id, probability: weight / total }))
    .sort((a, b) => b.probability - a.probability || a.id - b.id)
    .slice(0, count);
}

describe('the most probable tokens', () => {
  test('are those of the softmax, also with ties and more asked for than there are', () => {
    const random = new SeededRandom(11);
    for (const size of [1, 2, 7, 500]) {
      for (const count of [0, 1, 5, 20]) {
        // Few different values, so that there are ties.
        const logits = Float32Array.from({ length: size }, () => Math.round(random.nextDouble() * 12) / 2);
        const chosen = Math.floor(random.nextDouble() * size);
        const found = likelyTokens(logits, chosen, count);
        const expected = plain(logits, count);
        expect(found.alternatives.map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
        for (const [index, { probability }] of expected.entries())
          expect(found.alternatives[index]!.probability).toBeCloseTo(probability, 12);
        expect(found.chosen.id).toBe(chosen);
        expect(found.chosen.probability).toBeCloseTo(
          plain(logits, size).find(({ id }) => id === chosen)!.probability,
          12,
        );
      }
    }
  });

  test('of large logits do not overflow, and together have a probability of one', () => {
    const { alternatives } = likelyTokens(Float32Array.of(1e30, 1e30, -1e30, 0), 2, 4);
    expect(alternatives.map(({ id, probability }) => [id, probability])).toEqual([
      [0, 0.5],
      [1, 0.5],
      [3, 0],
      [2, 0],
    ]);
  });

  test('of broken logits are numbers all the same', () => {
    const { chosen, alternatives } = likelyTokens(
      Float32Array.of(Number.NaN, Number.POSITIVE_INFINITY, 3, Number.NEGATIVE_INFINITY),
      0,
      5,
    );
    expect(chosen).toEqual({ id: 0, probability: 0 });
    expect(alternatives).toEqual([
      { id: 1, probability: 1 },
      { id: 2, probability: 0 },
      { id: 3, probability: 0 },
    ]);
    const nothing = Float32Array.of(Number.NaN, Number.NEGATIVE_INFINITY);
    for (const { probability } of likelyTokens(nothing, 1, 2).alternatives)
      expect(Number.isFinite(probability)).toBe(true);
  });
});
