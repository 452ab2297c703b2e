import { DBellError } from '../contract/errors.ts';
import type { Sampling } from '../contract/generation.ts';
import { SeededRandom } from './seeded-random.ts';
import { type TopLogits, type TopRequest, topLimits, totalWeightBound } from './top-logits.ts';

/** Chooses the next token from logits `[vocabularySize]`. */
export interface Sampler {
  (logits: Float32Array): number;
  /** What `fromTop` needs; null where only all logits will do. */
  readonly top: TopRequest | null;
  /** The same token, from the highest logits as a rule; where they leave it open, all are read. */
  fromTop(top: TopLogits): Promise<number>;
}

/**
 * Makes a sampler. Greedy: the highest logit, of equals the lowest id. Sampled: softmax at a temperature, cut to the smallest set of tokens whose
 * probabilities reach topP (nucleus sampling, Holtzman et al. 2020), drawn with a seeded generator: the same seed and logits give the same tokens, whether from all
 * logits or from the highest. A sampler holds the generator's state: one for each sequence. Throws DBellError `internal` where no logit is finite.
 */
export function createSampler(sampling: Sampling): Sampler {
  if (sampling.kind === 'greedy')
    return Object.assign((logits: Float32Array) => greedyToken(logits), {
      top: { count: 1, temperature: 1 },
      fromTop: async ({ ids }: TopLogits) => ids[0] as number,
    });
  const { temperature, topP, seed } = sampling;
  const random = new SeededRandom(seed);
  return Object.assign(
    (logits: Float32Array) => sampleToken(logits, temperature, topP, random.nextDouble()),
    {
      top: temperature < topLimits.leastTemperature ? null : { count: topLimits.count, temperature },
      async fromTop(top: TopLogits) {
        const point = random.nextDouble();
        return (
          sampleTop(top, temperature, topP, point) ?? sampleToken(await top.all(), temperature, topP, point)
        );
      },
    },
  );
}

/** Id of the highest logit; NaN never wins. */
export function greedyToken(logits: Float32Array): number {
  let best = -1;
  let bestLogit = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id] as number;
    if (logit > bestLogit) {
      best = id;
      bestLogit = logit;
    }
  }
  if (best === -1)
    throw new DBellError(
      'internal',
      `none of the ${logits.length} logits is a number; the model's output is broken`,
    );
  return best;
}

/**
 * Token at `point` ∈ [0, 1) of the cumulative distribution of softmax(logits / temperature) over the nucleus, tokens in order of falling
 * probability, of equals by rising id.
 */
export function sampleToken(logits: Float32Array, temperature: number, topP: number, point: number): number {
  const maximum = logits[greedyToken(logits)] as number;
  // +Infinity beside it would make NaN of the differences; such a token is certain.
  if (maximum === Number.POSITIVE_INFINITY) return logits.indexOf(maximum);
  const weights = new Float64Array(logits.length);
  let total = 0;
  for (let id = 0; id < logits.length; id++) {
    const weight = weightOf(logits[id] as number, maximum, temperature);
    weights[id] = Number.isNaN(weight) ? 0 : weight;
    total += weights[id] as number;
  }
  // Tokens below this threshold together weigh less than 1 − topP, so the nucleus does without them: no need to sort them.
  const threshold = ((1 - topP) * total) / logits.length;
  const candidates: number[] = [];
  for (let id = 0; id < weights.length; id++) {
    const weight = weights[id] as number;
    if (weight > 0 && weight >= threshold) candidates.push(id);
  }
  candidates.sort((a, b) => byWeight(weights[a] as number, a, weights[b] as number, b));
  const falling = Float64Array.from(candidates, (id) => weights[id] as number);
  const nucleus = nucleusOf(falling, topP * total);
  return candidates[Math.min(drawn(falling, nucleus.kept, point * nucleus.mass), nucleus.kept - 1)] as number;
}

/**
 * The token that `sampleToken` would choose from all logits, by the highest ones; null where they leave it open.
 *
 * How many tokens the nucleus keeps, and so its mass, depends on the total weight by comparisons alone, and rises with it. The token at point · mass, found by the same
 * subtractions, moves away from the first one as the mass rises. So where the least and the largest mass that the total's bound allows give the same token, so does the
 * true one, however many tokens the nucleus keeps. `sampleToken`'s threshold changes none of this: what it leaves out lies behind the nucleus, but for roundings far
 * below the bound.
 */
export function sampleTop(
  { ids, logits, totalWeight }: Pick<TopLogits, 'ids' | 'logits' | 'totalWeight'>,
  temperature: number,
  topP: number,
  point: number,
): number | null {
  const maximum = logits[0] as number;
  const weights = Array.from(logits, (logit) => weightOf(logit, maximum, temperature));
  // The highest weight that a token which was not told may have, with room for the last bits of exp. Its place among those of that weight is not known, as unequal logits may
  // weigh the same.
  const untold = (weights.at(-1) as number) * (1 + 2 ** -48);
  const known = [...weights.keys()]
    .filter((rank) => (weights[rank] as number) > untold)
    .sort((a, b) => byWeight(weights[a] as number, ids[a] as number, weights[b] as number, ids[b] as number));
  const falling = Float64Array.from(known, (rank) => weights[rank] as number);
  if (falling.length === 0) return null;
  const least = topP * totalWeight * (1 - totalWeightBound);
  const largest = topP * totalWeight * (1 + totalWeightBound);
  const rankAt = (target: number, massBeyond: number): number => {
    const { kept, mass } = nucleusOf(falling, target);
    if (mass < target) return drawn(falling, kept, point * massBeyond);
    return Math.min(drawn(falling, kept, point * mass), kept - 1);
  };
  // A nucleus that goes on behind the known tokens ends with one that was not told.
  const rank = rankAt(least, least);
  if (rank === falling.length || rank !== rankAt(largest, largest + untold)) return null;
  return ids[known[rank] as number] as number;
}

/** Of a token in softmax, relative to the most probable one's. */
function weightOf(logit: number, maximum: number, temperature: number): number {
  return Math.exp((logit - maximum) / temperature);
}

/** Falling weights, of equals rising ids. */
function byWeight(weightA: number, a: number, weightB: number, b: number): number {
  return weightB - weightA || a - b;
}

/** The first of falling weights that together reach a mass, one at least; all where they do not. */
function nucleusOf(falling: Float64Array, target: number): { kept: number; mass: number } {
  let kept = 0;
  let mass = 0;
  while (kept < falling.length && (kept === 0 || mass < target)) mass += falling[kept++] as number;
  return { kept, mass };
}

/** Rank of the token within which `rest` of the first `count` tokens' mass is used up; `count` where it is larger than that. */
function drawn(falling: Float64Array, count: number, rest: number): number {
  let left = rest;
  let rank = 0;
  for (; rank < count; rank++) {
    left -= falling[rank] as number;
    if (left < 0) break;
  }
  return rank;
}
