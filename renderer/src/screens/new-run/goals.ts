import { isUnstable } from '../../../../engine/contract/field-names.ts';
import type { RunSummary } from '../../../../engine/contract/history.ts';
import type { RecipePoint } from '../../charts/scatter.ts';
import type { Goal } from '../../state/draft.svelte.ts';
import type { RecipeDescription } from '../../state/environment.svelte.ts';
import { expectedRatio, expectedVerdict } from '../../state/measured.svelte.ts';

export interface GoalKnowledge {
  recipes: RecipeDescription[];
  points: RecipePoint[];
  sizes: ReadonlyMap<string, { bytes: number; bits: number }>;
  fitsBytes: number;
  runs: RunSummary[];
  modelName: string | null;
  chosen: string | null;
}

/** The recipe that serves a goal best by what is known, whether the goal can be offered at all, and whether what is known may be wrong. */
export function recipeForGoal(
  goal: Goal,
  knowledge: GoalKnowledge,
): { recipe: string | null; isOffered: boolean; isUnsure?: boolean } {
  switch (goal) {
    case 'smallest': {
      const recipe = smallestUsable(knowledge);
      return { recipe, isOffered: recipe !== null };
    }
    case 'fits':
      return { recipe: bestThatFits(knowledge), isOffered: knowledge.recipes.length > 0 };
    case 'fastest': {
      const { recipe, isUnsure } = fastest(knowledge);
      return { recipe, isOffered: recipe !== null, isUnsure };
    }
    case 'paper': {
      const isKnown = knowledge.recipes.some(({ name }) => name === 'dbellquant');
      return { recipe: isKnown ? 'dbellquant' : null, isOffered: isKnown };
    }
    case 'own':
      return { recipe: knowledge.chosen, isOffered: knowledge.recipes.length > 0 };
  }
}

/** Fewest stored bits among the recipes whose worst measurement is still judged usable. */
function smallestUsable({ recipes, points, sizes }: GoalKnowledge): string | null {
  const usable = recipes.flatMap(({ name }) => {
    if (expectedVerdict(points, name) !== 'usable') return [];
    const measured = points
      .filter((point) => point.recipe === name)
      .map((point) => point.storedBitsPerWeight);
    return [{ name, bits: sizes.get(name)?.bits ?? Math.min(...measured) }];
  });
  return usable.sort((a, b) => a.bits - b.bits)[0]?.name ?? null;
}

/** Lowest measured ratio among those that fit; among those that were never measured, the most bits. */
function bestThatFits({ recipes, points, sizes, fitsBytes }: GoalKnowledge): string | null {
  const fitting = recipes.flatMap(({ name }) => {
    const size = sizes.get(name);
    return size && size.bytes <= fitsBytes
      ? [{ name, bits: size.bits, ratio: expectedRatio(points, name) }]
      : [];
  });
  const measured = fitting.filter(({ ratio }) => ratio !== null);
  if (measured.length > 0) return measured.sort((a, b) => (a.ratio ?? 0) - (b.ratio ?? 0))[0]?.name ?? null;
  return fitting.sort((a, b) => b.bits - a.bits)[0]?.name ?? null;
}

/** By this machine's own benchmarks of this model: by those that were stable, and by an unstable one only where there is no other. */
function fastest({ runs, modelName, recipes }: GoalKnowledge): { recipe: string | null; isUnsure: boolean } {
  const timed = runs.filter(
    (run) =>
      run.kind === 'quantize' &&
      run.modelName === modelName &&
      run.metrics.decodeTokensPerSecond !== undefined &&
      recipes.some(({ name }) => name === run.recipe),
  );
  const unstable = (run: RunSummary) => isUnstable('decodeTokensPerSecond', run.metrics);
  const [best] = timed.sort(
    (a, b) =>
      Number(unstable(a)) - Number(unstable(b)) ||
      (b.metrics.decodeTokensPerSecond ?? 0) - (a.metrics.decodeTokensPerSecond ?? 0),
  );
  return { recipe: best?.recipe ?? null, isUnsure: best !== undefined && unstable(best) };
}
