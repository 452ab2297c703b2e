import type { JsonObject } from '../../../../engine/contract/common.ts';

/** Fields that are chosen elsewhere on the page, or that are the recipe's identity. */
const chosenElsewhere = new Set(['name', 'activationBits', 'nominalBitsPerWeight']);

/** Every field of a recipe by its path, as `set` takes it. */
export function flattenRecipe(recipe: JsonObject, prefix = ''): { key: string; value: string }[] {
  return Object.entries(recipe).flatMap(([name, value]) => {
    const key = prefix + name;
    if (chosenElsewhere.has(key) || value === null || Array.isArray(value)) return [];
    if (typeof value === 'object') return flattenRecipe(value as JsonObject, `${key}.`);
    return [{ key, value: String(value) }];
  });
}
