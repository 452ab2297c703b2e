import { fieldRank } from '../../../../engine/contract/field-names.ts';
import type { RunDetail } from '../../../../engine/contract/history.ts';

/** Figures of the compared runs by name. */
type Figures = Pick<RunDetail, 'metrics'>[];

/** Metrics that at least two of the runs have, in the order of results. */
export function comparableMetrics(runs: Figures): string[] {
  return [...new Set(runs.flatMap(({ metrics }) => Object.keys(metrics)))]
    .filter((name) => runs.filter(({ metrics }) => metrics[name] !== undefined).length > 1)
    .sort((a, b) => fieldRank(a) - fieldRank(b));
}

export function differs(runs: Figures, name: string): boolean {
  const present = runs.flatMap(({ metrics }) => (metrics[name] === undefined ? [] : [metrics[name]]));
  return new Set(present).size > 1;
}

/** Runs that have both and so are points of a chart. */
function pointCount(runs: Figures, x: string, y: string): number {
  return runs.filter(({ metrics }) => metrics[x] !== undefined && metrics[y] !== undefined).length;
}

/**
 * What the chart of a comparison opens with: stored bits against the ratio of perplexities where two runs have both, else against perplexity, else the first
 * two metrics that differ and that two runs have in common. Never twice the same; null where there is no such pair.
 */
export function initialAxes(runs: Figures): { x: string; y: string } | null {
  for (const y of ['perplexityRatio', 'perplexity'])
    if (pointCount(runs, 'storedBitsPerWeight', y) > 1) return { x: 'storedBitsPerWeight', y };
  const metrics = comparableMetrics(runs);
  const differing = metrics.filter((name) => differs(runs, name));
  for (const among of [differing, metrics])
    for (const [index, x] of among.entries())
      for (const y of among.slice(index + 1)) if (pointCount(runs, x, y) > 1) return { x, y };
  return null;
}
