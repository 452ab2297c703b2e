import { toErrorPayload } from '../../contract/error-payload.ts';
import { openModel } from '../../model/open.ts';
import { checkKept } from '../../quantize/as-is.ts';
import { estimateQuantization } from '../../quantize/estimate.ts';
import { recipeNames } from '../../quantize/recipes.ts';
import type { TaskFunction } from './control.ts';
import { recipeFor } from './quantization-settings.ts';

/** Bytes do not depend on the calibration, so that none is assumed. */
const noCalibration = { windowCount: 0, context: 0, threads: 1 } as const;

export const recipeSizesTask: TaskFunction<'recipeSizes'> = async ({ model, embeddingBits }) => {
  const source = await openModel(model);
  try {
    const { architecture } = source;
    const sizes = recipeNames.flatMap((name) => {
      try {
        const recipe = recipeFor(architecture, { recipe: name, set: [] });
        const kept = recipe.binarizer.kind === 'as-is' ? checkKept(source) : null;
        const { packageBytes, storedBitsPerWeight } = estimateQuantization({
          architecture,
          recipe,
          embeddingBits,
          ...noCalibration,
          ...(kept === null ? {} : { keptLevels: kept.levels }),
        });
        return [{ recipe: name, packageBytes: packageBytes.total, storedBitsPerWeight }];
      } catch (error) {
        // Such as a recipe that keeps low-bit weights, for a model that has none.
        if (toErrorPayload(error).code === 'internal') throw error;
        return [];
      }
    });
    return { sizes };
  } finally {
    source.close();
  }
};
