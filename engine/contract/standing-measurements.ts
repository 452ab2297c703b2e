import type { RunKind } from './history.ts';

/**
 * Measurements that stand for a package, in the order in which they do: those with the activation bits that it was made for, since others are of another model; of quality
 * those over the most tokens first, since a quick look must not stand in for a whole measurement that was there before; of equal ones, and of benchmarks, the newest
 * first, as they come. The table's SQL (`related-runs.ts`) chooses alike.
 */
export function inStandingOrder<
  T extends { kind: RunKind; metrics: Record<string, number>; activationBits: number | null },
>(newestFirst: readonly T[], activationBits: number | null): T[] {
  const tokensOf = ({ metrics }: T) => metrics.perplexityTokens ?? 0;
  return newestFirst
    .filter((measured) => !hasOtherActivations(measured.activationBits, activationBits))
    .toSorted((a, b) => tokensOf(b) - tokensOf(a));
}

/** Whether both are known and differ. */
export function hasOtherActivations(measured: number | null, made: number | null): boolean {
  return measured !== null && made !== null && measured !== made;
}
