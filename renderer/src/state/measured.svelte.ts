import {
  verdictThresholds as engineThresholds,
  type Verdict,
  verdictOf,
} from '../../../engine/contract/verdict.ts';
import measurements from '../../../resources/measurements.json';
import type { RecipePoint } from '../charts/scatter.ts';
import { runHistory } from './history.svelte.ts';

/** Ratios of perplexity up to which the engine says usable and degraded; a result carries those it was judged by. */
export const verdictThresholds = {
  usable: engineThresholds.usable.mostPerplexityRatio,
  degraded: engineThresholds.degraded.mostPerplexityRatio,
};

interface Row {
  model: string;
  recipe: string;
  activationBits: number;
  storedBitsPerWeight: number;
  perplexity: number;
  fullPrecisionPerplexity: number;
  topTokenAgreement: number | null;
}

/** Recipes as they were measured: for the models of the bundled table, and in the person's own history. */
export function measuredRecipes(modelName: string | null): RecipePoint[] {
  const bundled = (measurements.rows as Row[]).map((row) => ({
    recipe: row.recipe,
    model: row.model,
    activationBits: row.activationBits,
    storedBitsPerWeight: row.storedBitsPerWeight,
    ratio: row.perplexity / row.fullPrecisionPerplexity,
    topTokenAgreement: row.topTokenAgreement,
    source: 'bundled' as const,
    sameModel: row.model === modelName,
  }));
  // A package that was judged by a run of its own bears its own name; whose it is its source's fingerprint tells.
  const names = new Map<string, string>();
  for (const { kind, modelFingerprint, modelName: name } of runHistory.recent)
    if (kind === 'quantize' && modelFingerprint !== null) names.set(modelFingerprint, name);
  const own = runHistory.recent.flatMap((run): RecipePoint[] => {
    const { storedBitsPerWeight, perplexityRatio } = run.metrics;
    if (run.recipe === null || storedBitsPerWeight === undefined || perplexityRatio === undefined) return [];
    const model = (run.modelFingerprint && names.get(run.modelFingerprint)) ?? run.modelName;
    return [
      {
        recipe: run.recipe,
        model,
        activationBits: run.activationBits ?? 16,
        storedBitsPerWeight,
        ratio: perplexityRatio,
        topTokenAgreement: run.metrics.topTokenAgreement ?? null,
        source: 'own',
        sameModel: model === modelName,
      },
    ];
  });
  // A measurement stands in its own row and in that of the run whose package it measured: one point.
  const points = new Map(own.map((point) => [JSON.stringify(point), point]));
  return [...bundled, ...points.values()];
}

/** Points of this model where there are any, else of all: another model's say less, and that is said. */
export function pointsFor(modelName: string | null): { points: RecipePoint[]; ofOtherModels: boolean } {
  const all = measuredRecipes(modelName);
  const same = all.filter(({ sameModel }) => sameModel);
  return same.length > 0 ? { points: same, ofOtherModels: false } : { points: all, ofOtherModels: true };
}

/** The worst ratio measured of each recipe: what may be expected, told with caution. */
export function expectedRatio(points: RecipePoint[], recipe: string): number | null {
  const ratios = points.filter((point) => point.recipe === recipe).map(({ ratio }) => ratio);
  return ratios.length === 0 ? null : Math.max(...ratios);
}

/**
 * What the worst of a recipe's measurements would be judged as; null where it was not measured, or where only the agreement, which is not known, could tell usable
 * from degraded.
 */
export function expectedVerdict(points: RecipePoint[], recipe: string): Verdict | null {
  const known = points.filter((point) => point.recipe === recipe);
  // Not measured: as if nothing agreed, and as if everything did.
  const [least, most] = [0, 1].map((unknown) =>
    worst(
      known.map(({ ratio, topTokenAgreement }) =>
        verdictOf({ perplexityRatio: ratio, topTokenAgreement: topTokenAgreement ?? unknown }),
      ),
    ),
  );
  return least === most ? (least ?? null) : null;
}

function worst(verdicts: Verdict[]): Verdict | undefined {
  return (['broken', 'degraded', 'usable'] as const).find((verdict) => verdicts.includes(verdict));
}
