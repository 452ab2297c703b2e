import type { JsonObject } from '../../../../engine/contract/common.ts';
import { flatten } from '../../../../engine/contract/flatten.ts';

/** Fields that are chosen elsewhere on the page, or that are the recipe's identity. */
const chosenElsewhere = new Set(['name', 'activationBits', 'nominalBitsPerWeight']);

/** Every field of a recipe by its path, as `set` takes it. */
export function flattenRecipe(recipe: JsonObject): { key: string; value: string }[] {
  return [...flatten(recipe)]
    .filter(([key, value]) => !chosenElsewhere.has(key) && value !== null && !Array.isArray(value))
    .map(([key, value]) => ({ key, value: String(value) }));
}
