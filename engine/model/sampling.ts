import { DBellError } from '../contract/errors.ts';
import type { Sampling } from '../contract/generation.ts';
import { SeededRandom } from './seeded-random.ts';

/** Chooses the next token from logits `[vocabularySize]`. */
export type Sampler = (logits: Float32Array) => number;

/**
 * Makes a sampler. Greedy: the highest logit, of equals the lowest id. Sampled: softmax at a temperature, cut to the smallest set of tokens whose
 * probabilities reach topP (nucleus sampling, Holtzman et al. 2020), drawn with a seeded generator: the same seed and logits give the same tokens.
 * A sampler holds the generator's state: one for each sequence. Throws DBellError `internal` where no logit is finite.
 */
export function createSampler(sampling: Sampling): Sampler {
  if (sampling.kind === 'greedy') return greedyToken;
  const random = new SeededRandom(sampling.seed);
  return (logits) => sampleToken(logits, sampling.temperature, sampling.topP, random.nextDouble());
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
    const weight = Math.exp(((logits[id] as number) - maximum) / temperature);
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
  candidates.sort((a, b) => (weights[b] as number) - (weights[a] as number) || a - b);
  let kept = 0;
  let mass = 0;
  while (kept < candidates.length && (kept === 0 || mass < topP * total))
    mass += weights[candidates[kept++] as number] as number;
  let rest = point * mass;
  for (let index = 0; index < kept; index++) {
    rest -= weights[candidates[index] as number] as number;
    if (rest < 0) return candidates[index] as number;
  }
  return candidates[kept - 1] as number;
}
