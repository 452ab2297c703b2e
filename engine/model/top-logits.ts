// What a device tells of a token's logits instead of all of them: enough, as a rule, to choose the next token exactly (sampling.ts).

/** Bounds of a `TopRequest`. */
export const topLimits = {
  /** So many logits at most: more than a nucleus has as a rule, few enough that they are found and read in a fraction of a token's time. */
  count: 64,
  /** The contract's bounds of a temperature, but that the least one's reciprocal is a float32. */
  leastTemperature: 1e-30,
  highestTemperature: 100,
} as const;

/**
 * `TopLogits.totalWeight` is within this share of the exact sum. What a device that sums the n weights of a slice in float32 (kernels/top.ts) is off by at most: n / 64
 * additions in a thread and 6 of halves to halves, 2⁻²⁴ each; 2.4e-7 for the exponential (kernels/arithmetic.ts); and 3 · 2⁻²⁴ |a| for the roundings of its argument a, of which
 * 1.5e-6 are felt, since the highest weight is 1 and exact, so that n weights of eᵃ matter only where n eᵃ does. That is 3e-6 together for slices of 1024 (vocabularies up to 2¹⁸),
 * 6.4e-5 for those of 65,536 of the largest vocabulary (2²⁴). Sums in another order in float64 differ by less than 1e-8.
 */
export const totalWeightBound = 1e-4;

export interface TopRequest {
  /** 1 … `topLimits.count`. */
  count: number;
  /** `topLimits.leastTemperature` … `topLimits.highestTemperature`. */
  temperature: number;
}

/** The highest logits of a token and the weight of all. */
export interface TopLogits {
  /** As many as were asked for, or as the vocabulary has, by falling logit, of equals by rising id. −0 and 0 are equal. */
  readonly ids: Int32Array;
  readonly logits: Float32Array;
  /** Σ exp((logit − highest) / temperature) over the vocabulary, within `totalWeightBound` of it. */
  readonly totalWeight: number;
  /** All logits `[vocabularySize]`, read from the device; only until the session's next call. */
  all(): Promise<Float32Array>;
}
