import path from 'node:path';
import { assets, numberAt } from '../command.ts';
import type { Figure, Item } from '../harness.ts';
import { judged, packageOf, type QuantizeAndMeasure, verdictFigures } from '../quantize-and-measure.ts';
import { storiesGrids, storiesRecipes } from '../reference-values.ts';
import { storiesSetting } from './grid.ts';

/** A package beside its original on the whole evaluation text: what the studio's recommendations rest on. */
async function judge(m: QuantizeAndMeasure): Promise<Figure[]> {
  const { out } = await packageOf(m);
  const quality = await judged(m, out);
  const { windows, context } = m.evaluation;
  return [
    {
      name: `perplexity over full precision (${windows} × ${context} tokens)`,
      measured: numberAt(quality, 'perplexityRatio'),
    },
    ...verdictFigures(quality),
  ];
}

const rows: { recipe: string; activationBits: number }[] = [
  ...storiesRecipes,
  ...storiesGrids.flatMap(({ levels }) =>
    [16, 8].map((activationBits) => ({ recipe: `grid-${levels}`, activationBits })),
  ),
];

export const verdictItems: Item[] = rows.map(({ recipe, activationBits }) => ({
  id: `verdict/stories-${recipe}-a${activationBits}`,
  title: `dbell-stories-7m, ${recipe} at A${activationBits} beside full precision on held-out stories`,
  run: ({ scratch }) =>
    judge({
      ...storiesSetting(scratch),
      model: path.join(assets, 'models/dbell-stories-7m'),
      recipe,
      activationBits,
    }),
}));
