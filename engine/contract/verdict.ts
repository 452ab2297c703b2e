import { z } from 'zod';
import { formatAgreement, formatRatio } from './number-format.ts';

/** What the figures of a packed model mean for a person. */

export const verdictSchema = z.enum(['usable', 'degraded', 'broken']);
export type Verdict = z.infer<typeof verdictSchema>;

/** What a verdict was judged by. */
export const verdictThresholdsSchema = z.strictObject({
  usable: z.strictObject({ mostPerplexityRatio: z.number(), leastTopTokenAgreement: z.number() }),
  degraded: z.strictObject({ mostPerplexityRatio: z.number() }),
});
export type VerdictThresholds = z.infer<typeof verdictThresholdsSchema>;

/**
 * What a ratio of perplexities and an agreement of top tokens mean for a person. A result carries the thresholds that it was judged by, so that a
 * verdict stays true when they change.
 */
export const verdictThresholds: VerdictThresholds = {
  usable: { mostPerplexityRatio: 1.25, leastTopTokenAgreement: 0.75 },
  degraded: { mostPerplexityRatio: 2 },
};

/**
 * `usable` where perplexity and top token stay close to the original's, `degraded` where the text is still language, else `broken`. A perplexity that
 * is not finite (null) is broken.
 */
export function verdictOf(
  { perplexityRatio, topTokenAgreement }: { perplexityRatio: number | null; topTokenAgreement: number },
  thresholds: VerdictThresholds = verdictThresholds,
): Verdict {
  const { usable, degraded } = thresholds;
  if (perplexityRatio === null || !(perplexityRatio <= degraded.mostPerplexityRatio)) return 'broken';
  return perplexityRatio <= usable.mostPerplexityRatio && topTokenAgreement >= usable.leastTopTokenAgreement
    ? 'usable'
    : 'degraded';
}

/** A verdict with the figures that it rests on and the thresholds that it was judged by, for people. */
export function verdictSentence({
  verdict,
  perplexityRatio,
  topTokenAgreement,
  thresholds: { usable, degraded },
}: {
  verdict: Verdict;
  perplexityRatio: number | null;
  topTokenAgreement: number;
  thresholds: VerdictThresholds;
}): string {
  const figures =
    perplexityRatio === null
      ? 'its perplexity is not finite'
      : `its perplexity is ${formatRatio(perplexityRatio)} times the original's and the top token is the same in ${formatAgreement(topTokenAgreement)} of positions`;
  const asked = `usable: at most ${usable.mostPerplexityRatio} times and at least ${formatAgreement(usable.leastTopTokenAgreement)}; degraded: at most ${degraded.mostPerplexityRatio} times; else broken`;
  return `${verdict}: ${figures} (${asked})`;
}
