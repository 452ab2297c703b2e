import type { RecipeNote } from '../contract/quantization.ts';
import type { Architecture } from '../model/architecture.ts';
import type { Recipe } from './recipe.ts';
import { storesColumnScale } from './resolve-recipe.ts';

/** What a person should know of a recipe before the work, though nothing is wrong with it. A face that has words of its own takes them by `code`. */
export function recipeNotes(recipe: Recipe, architecture: Architecture): RecipeNote[] {
  if (recipe.binarizer.kind !== 'grid') return [];
  const storesScales = architecture.blocks.some(({ stages }) =>
    stages.some((stage) => storesColumnScale(recipe, stage)),
  );
  return storesScales
    ? [
        {
          code: 'no-gguf-export',
          message:
            'a package of this recipe cannot be exported to GGUF, which has no place for the scales of single columns; set columnScale=folded (or none) where an export is wanted, or export it dequantized to 16 bits a weight (export --weights f16)',
        },
      ]
    : [];
}
