import { describe, expect, it } from 'vitest';
import { nextToken } from '../../engine/model/next-token.ts';
import { createSampler, greedyToken, sampleToken, sampleTop } from '../../engine/model/sampling.ts';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import { type TopLogits, topLimits, totalWeightBound } from '../../engine/model/top-logits.ts';

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

/** The highest logits by a plain sort; the weight of all is off by a share of it. */
function topOf(logits: Float32Array, count: number, temperature: number, off = 0): TopLogits {
  const ids = Int32Array.from([...logits.keys()].sort((a, b) => logits[b]! - logits[a]! || a - b)).subarray(
    0,
    count,
  );
  let total = 0;
  for (const logit of logits) total += Math.exp((logit - logits[ids[0]!]!) / temperature);
  return {
    ids,
    logits: Float32Array.from(ids, (id) => logits[id]!),
    totalWeight: total * (1 + off),
    all: async () => logits,
  };
}

describe('sampling from the highest logits', () => {
  const points = [0, ...Array.from({ length: 22 }, (_, draw) => (draw + 0.5) / 22), 1 - 2 ** -53];
  /** How many of the points leave the token open. */
  function expectSame(logits: Float32Array, count: number, temperature: number, topP: number): number {
    let open = 0;
    const expected = points.map((point) => sampleToken(logits, temperature, topP, point));
    for (const off of [-0.99, 0, 0.99].map((share) => share * totalWeightBound)) {
      const top = topOf(logits, count, temperature, off);
      const chosen = points.map((point) => sampleTop(top, temperature, topP, point));
      open += chosen.filter((id) => id === null).length;
      expect(chosen.map((id, index) => id ?? expected[index])).toEqual(expected);
    }
    return open / 3;
  }
  const temperatures = [0.01, 0.3, 1, 3, 100];
  const shares = [1e-9, 0.3, 0.9, 0.999, 1 - 1e-6, 1];

  it('gives the token of all logits wherever the total’s bound allows but one', () => {
    let open = 0;
    let all = 0;
    for (const [index, length] of [1, 2, 40, 64, 65, 800].entries())
      for (const temperature of temperatures)
        for (const topP of shares) {
          open += expectSame(randomLogits(index, length), topLimits.count, temperature, topP);
          all += points.length;
        }
    expect(open).toBeGreaterThan(0);
    expect(open / all).toBeLessThan(0.4);
  });

  it('holds at the very border of a nucleus, and of a token', () => {
    const logits = randomLogits(5, 120);
    const order = topOf(logits, 120, 1).ids;
    const weights = Array.from(order, (id) => Math.exp(logits[id]! - logits[order[0]!]!));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    let mass = 0;
    let open = 0;
    for (const weight of weights.slice(0, 30)) {
      mass += weight;
      for (const beside of [-1e-4, -1e-6, -1e-15, 0, 1e-15, 1e-6, 1e-4]) {
        const topP = (mass / total) * (1 + beside);
        open += expectSame(logits, topLimits.count, 1, topP);
        for (const off of [-0.99, 0.99]) {
          const top = topOf(logits, topLimits.count, 1, off * totalWeightBound);
          const chosen = sampleTop(top, 1, 0.9, topP);
          if (chosen !== null) expect(chosen).toBe(sampleToken(logits, 1, 0.9, topP));
          else open += 1;
        }
      }
    }
    expect(open).toBeGreaterThan(0);
  });

  it('equal logits go by their ids; those that may weigh the same as others leave the token open', () => {
    const ties = Float32Array.from({ length: 300 }, (_, id) => -Math.floor(((id * 7) % 300) / 10));
    for (const temperature of temperatures)
      for (const topP of shares) expectSame(ties, topLimits.count, temperature, topP);
    expect(sampleTop(topOf(new Float32Array(300), 64, 1), 1, 0.1, 0.5)).toBeNull();
    // Unequal logits of one weight: the lower id comes first, be its logit the lower one or not.
    const tiny = Float32Array.from({ length: 100 }, (_, id) => (id % 50) * 1e-20);
    tiny[70] = 1;
    tiny[20] = 1;
    for (const topP of shares) expectSame(tiny, topLimits.count, 1, topP);
    const near = Float32Array.of(1e-20, 2e-20, -30, -31);
    expect(sampleTop(topOf(near, 3, 1), 1, 0.9, 0.2)).toBe(0);
  });

  it('a sampler gives the same tokens either way, its generator advancing once for each', async () => {
    const vectors = Array.from({ length: 80 }, (_, seed) => randomLogits(seed, 400));
    for (const sampling of [
      { kind: 'greedy' },
      { kind: 'sampled', temperature: 0.8, topP: 0.9, seed: 4 },
      { kind: 'sampled', temperature: 2, topP: 1, seed: 5 },
      { kind: 'sampled', temperature: 1e-31, topP: 0.5, seed: 6 },
    ] as const) {
      const [plain, mixed] = [createSampler(sampling), createSampler(sampling)];
      let fed = 0;
      let alls = 0;
      const session = {
        feed: async () => vectors[fed++]!,
        async feedTop(_: Int32Array, { count, temperature }: { count: number; temperature: number }) {
          const logits = vectors[fed++]!;
          const all = async () => {
            alls += 1;
            return logits;
          };
          return { ...topOf(logits, count, temperature), all };
        },
      };
      const expected = vectors.map((logits) => plain(logits));
      const got: number[] = [];
      // Every third time the session is asked for all.
      for (let step = 0; step < vectors.length; step++)
        got.push(await nextToken(step % 3 === 0 ? { feed: session.feed } : session, Int32Array.of(0), mixed));
      expect(got).toEqual(expected);
      // 64 of 400 tokens hold little of a distribution this flat, nearly all where it is cut and sharp.
      if (sampling.kind === 'sampled' && sampling.temperature === 2) expect(alls).toBeGreaterThan(10);
      if (sampling.kind === 'greedy') expect(alls).toBe(0);
    }
  });

  it('a program that chooses itself is taken at its word', async () => {
    const sampler = createSampler({ kind: 'greedy' });
    expect(await nextToken({ feed: async () => 7 }, Int32Array.of(0), sampler)).toBe(7);
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
