import path from 'node:path';
import { assets } from '../command.ts';
import { atMost, type Figure, type Item, within } from '../harness.ts';
import { ask, type QuantizeAndMeasure, quantizeAndMeasure } from '../quantize-and-measure.ts';
import { smollmRecipes, storiesRecipes } from '../reference-values.ts';

export const smollmModel = 'models/smollm2-135m-instruct-gguf/SmolLM2-135M-Instruct.Q4_1.gguf';

/** A recipe on dbell-stories-7m at full size, beside the independent value. */
export async function measureStoriesRecipe(
  row: (typeof storiesRecipes)[number],
  files: { scratch: string; model: string; training: string; validation: string },
): Promise<Figure[]> {
  let figures = await quantizeAndMeasure({
    scratch: files.scratch,
    name: 'stories',
    model: files.model,
    recipe: row.recipe,
    activationBits: row.activationBits,
    calibration: { text: files.training, windows: 96, context: 512 },
    evaluation: { text: files.validation, windows: 64, context: 512, separator: '0' },
  });
  const { perplexity, storedBits, tolerance } = row;
  if (perplexity !== null)
    figures = ask(figures, 'perplexity', (value, name) => within(name, value, perplexity, tolerance, true));
  if (storedBits !== null)
    figures = ask(figures, 'stored bits', (value, name) => within(name, value, storedBits, 0.02, true));
  return figures;
}

export const storiesItems: Item[] = storiesRecipes.map((row) => ({
  id: `stories/${row.recipe}-a${row.activationBits}`,
  title: `dbell-stories-7m, ${row.recipe} at A${row.activationBits}, 96 × 512 calibration tokens`,
  run: ({ scratch }) =>
    measureStoriesRecipe(row, {
      scratch,
      model: path.join(assets, 'models/dbell-stories-7m'),
      training: path.join(assets, 'data/dbell-stories/stories.train.sample.txt'),
      validation: path.join(assets, 'data/dbell-stories/stories.valid.txt'),
    }),
}));

/** The setting of SmolLM2's reference values: everything about a measurement but the recipe. */
export const smollmSetting = (scratch: string): Omit<QuantizeAndMeasure, 'recipe' | 'activationBits'> => ({
  scratch,
  name: 'smollm',
  model: path.join(assets, smollmModel),
  calibration: { text: path.join(assets, 'data/c4-sample/c4_sample.jsonl'), windows: 64, context: 2048 },
  evaluation: {
    text: path.join(assets, 'data/wikitext-2-raw/wiki.test.joined.txt'),
    windows: 148,
    context: 2048,
    separator: 'none',
  },
});

export const smollmItems: Item[] = smollmRecipes.map((row) => ({
  id: `smollm/${row.recipe}-a${row.activationBits}`,
  title: `SmolLM2-135M-Instruct, ${row.recipe} at A${row.activationBits}, 64 × 2048 calibration tokens of the C4 sample, WikiText-2`,
  run: async ({ scratch }) => {
    let figures = await quantizeAndMeasure({
      ...smollmSetting(scratch),
      recipe: row.recipe,
      activationBits: row.activationBits,
    });
    figures = ask(figures, 'peak RSS', (value, name) => atMost(name, value, 1.5e9));
    const { perplexity, storedBits, broken } = row;
    // Values in the thousands say "broken" and nothing finer: the order of magnitude is compared there.
    if (perplexity !== null)
      figures = ask(figures, 'perplexity', (value, name) =>
        within(name, value, perplexity, broken ? 9 : 0.05, true),
      );
    if (storedBits !== null)
      figures = ask(figures, 'stored bits', (value, name) => within(name, value, storedBits, 0.02, true));
    return figures;
  },
}));
