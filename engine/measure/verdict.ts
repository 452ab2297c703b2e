import { type Verdict, type VerdictThresholds, verdictThresholds } from '../contract/verdict.ts';

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
