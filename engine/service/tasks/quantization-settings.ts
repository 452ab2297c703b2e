import type { Setting } from '../../contract/common.ts';
import type { Architecture } from '../../model/architecture.ts';
import type { ActivationBits, Recipe } from '../../quantize/recipe.ts';
import { resolveRecipe } from '../../quantize/resolve-recipe.ts';

/** Longest window that calibration and perplexity take by default: what the published figures use. */
const defaultContext = 2048;

/** The window length asked for, or the default within what the model is exact for. */
export function contextFor(architecture: Architecture, asked: number | undefined): number {
  const { contextLength, slidingWindow } = architecture;
  return asked ?? Math.min(defaultContext, contextLength, slidingWindow ?? contextLength);
}

/** A document separator as asked for: undefined is the model's own. */
export function separatorFor(asked: number | 'default' | 'none'): number | null | undefined {
  if (asked === 'default') return undefined;
  return asked === 'none' ? null : asked;
}

export function recipeFor(
  architecture: Architecture,
  settings: { recipe: string; set: Setting[]; activationBits?: ActivationBits },
): Recipe {
  const overrides = Object.fromEntries(settings.set.map(({ key, value }) => [key, value]));
  return resolveRecipe(settings.recipe, overrides, settings.activationBits, architecture.family);
}
