import type { RunKind } from './history.ts';

/**
 * Measurements of one package in the order in which they stand for it: of quality those over the most tokens first, since a quick look must not stand in for a
 * whole measurement that was there before; of equal ones, and of benchmarks, the newest first, as they come. The table's SQL (`related-runs.ts`) orders alike.
 */
export function inStandingOrder<T extends { kind: RunKind; metrics: Record<string, number> }>(
  newestFirst: readonly T[],
): T[] {
  const tokensOf = ({ metrics }: T) => metrics.perplexityTokens ?? 0;
  return newestFirst.toSorted((a, b) => tokensOf(b) - tokensOf(a));
}
