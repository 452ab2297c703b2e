import { jsonObjectSchema } from '../../contract/common.ts';
import { recipes } from '../../quantize/recipes.ts';
import { startTask } from '../supervisor.ts';
import type { HandlerContext, Handlers } from './handlers.ts';

export function quantizationHandlers({
  processHost,
}: HandlerContext): Pick<Handlers, 'recipes' | 'estimate'> {
  return {
    estimate: (input) => startTask(processHost, 'estimate', input).done,
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
