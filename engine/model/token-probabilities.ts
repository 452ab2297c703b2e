/** A token and its share of the model's distribution. */
export interface LikelyToken {
  id: number;
  probability: number;
}

/**
 * softmax(logits) at a temperature of 1: the probability of `chosen`, and the `count` most probable tokens in falling order, of equals the lower id first. Computed in
 * float64 from the largest logit down. A NaN has no probability; +Infinity takes all of it, shared among those that have it.
 */
export function likelyTokens(
  logits: Float32Array,
  chosen: number,
  count: number,
): { chosen: LikelyToken; alternatives: LikelyToken[] } {
  let maximum = Number.NEGATIVE_INFINITY;
  for (const logit of logits) if (logit > maximum) maximum = logit;
  const weightOf = (logit: number): number => {
    if (logit === maximum) return 1;
    return Number.isNaN(logit) ? 0 : Math.exp(logit - maximum);
  };
  let total = 0;
  const best: { id: number; logit: number }[] = [];
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id] as number;
    total += weightOf(logit);
    if (Number.isNaN(logit) || count === 0) continue;
    const last = best.at(-1);
    if (best.length === count && last !== undefined && logit <= last.logit) continue;
    let place = best.length;
    while (place > 0 && (best[place - 1] as { logit: number }).logit < logit) place--;
    best.splice(place, 0, { id, logit });
    if (best.length > count) best.pop();
  }
  const likely = (id: number): LikelyToken => ({
    id,
    probability: total > 0 ? weightOf(logits[id] ?? Number.NaN) / total : 0,
  });
  return { chosen: likely(chosen), alternatives: best.map(({ id }) => likely(id)) };
}
