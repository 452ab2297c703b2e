import type { Verdict, VerdictThresholds } from '../contract/verdict.ts';

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
