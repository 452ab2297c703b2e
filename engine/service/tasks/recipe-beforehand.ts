import type { EmbeddingBits } from '../../contract/common.ts';
import type { RecipeNote } from '../../contract/quantization.ts';
import type { ModelSource } from '../../model/source.ts';
import { columnScalesProblem, type GgufPrediction, predictGguf } from '../../package/predict-gguf.ts';
import type { Recipe } from '../../quantize/recipe.ts';
import { recipeNotes } from '../../quantize/recipe-notes.ts';

/** What is known of a recipe's package before the work: its GGUF, and notes on settings that stand in the way of something. No setting is blamed where another reason remains. */
export function recipeBeforehand(
  source: ModelSource,
  recipe: Recipe,
  embeddingBits: EmbeddingBits,
): { gguf: GgufPrediction; notes: RecipeNote[] } {
  const gguf = predictGguf(source, recipe, embeddingBits);
  const notes = gguf.problem === columnScalesProblem ? recipeNotes(recipe, source.architecture) : [];
  return { gguf, notes };
}
