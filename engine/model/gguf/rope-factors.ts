import type { GgufValue } from './metadata.ts';

/** LLaMA-3's own bounds between unscaled, blended and fully scaled frequencies; all published models have them. */
const LOW_FREQUENCY_FACTOR = 1;
const HIGH_FREQUENCY_FACTOR = 4;
/** LLaMA 3.1's original context, tried first. */
const USUAL_ORIGINAL_CONTEXT = 8192;
/** Both sides compute in float32, in different orders. */
const RELATIVE_TOLERANCE = 1e-4;

/**
 * llama.cpp's converter stores LLaMA-3's rope scaling as one divisor for each rotary pair, `[headDimension / 2]`. This finds the parameters of
 * config.json that give these divisors: null where all are 1, 'unknown' where no parameters do. Where several original contexts give the same
 * divisors, any of them describes the same model.
 */
export function llama3Scaling(
  divisors: Float32Array,
  theta: number,
  headDimension: number,
  originalContext: GgufValue | undefined,
): Record<string, unknown> | null | 'unknown' {
  const factor = divisors.reduce((largest, value) => Math.max(largest, value), 1);
  if (divisors.every((value) => value === 1)) return null;
  if (divisors.length * 2 !== headDimension || !Number.isFinite(theta) || !Number.isFinite(factor))
    return 'unknown';
  const powers = Array.from({ length: 17 }, (_, exponent) => 16 * 2 ** exponent);
  const given = typeof originalContext === 'number' ? [originalContext] : [];
  for (const original of [...given, USUAL_ORIGINAL_CONTEXT, ...powers]) {
    const matches = divisors.every((value, pair) => {
      const expected = divisorOf(pair, factor, original, theta, headDimension);
      return Math.abs(value - expected) <= RELATIVE_TOLERANCE * expected;
    });
    if (matches)
      return {
        rope_type: 'llama3',
        factor,
        low_freq_factor: LOW_FREQUENCY_FACTOR,
        high_freq_factor: HIGH_FREQUENCY_FACTOR,
        original_max_position_embeddings: original,
      };
  }
  return 'unknown';
}

/** LLaMA 3.1's rule (its reference code, apply_scaling): long waves are stretched by the factor, short ones kept, those between blended. */
function divisorOf(
  pair: number,
  factor: number,
  original: number,
  theta: number,
  headDimension: number,
): number {
  const waveLength = 2 * Math.PI * theta ** ((2 * pair) / headDimension);
  if (waveLength < original / HIGH_FREQUENCY_FACTOR) return 1;
  if (waveLength > original / LOW_FREQUENCY_FACTOR) return factor;
  const smooth =
    (original / waveLength - LOW_FREQUENCY_FACTOR) / (HIGH_FREQUENCY_FACTOR - LOW_FREQUENCY_FACTOR);
  return 1 / ((1 - smooth) / factor + smooth);
}
