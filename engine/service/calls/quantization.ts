import { jsonObjectSchema } from '../../contract/common.ts';
import { recipes } from '../../quantize/recipes.ts';
import type { Handlers } from './handlers.ts';

export function quantizationHandlers(): Pick<Handlers, 'recipes'> {
  return {
    recipes: () => ({
      recipes: [...recipes.values()].map(({ description, recipe }) => ({
        name: recipe.name,
        summary: description,
        nominalBitsPerWeight: recipe.nominalBitsPerWeight,
        activationBits: recipe.activationBits,
        recipe: jsonObjectSchema.parse(recipe),
      })),
    }),
  };
}
