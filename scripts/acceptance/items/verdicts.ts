import path from 'node:path';
import { assets, dbell, numberAt } from '../command.ts';
import type { Figure, Item } from '../harness.ts';
import { evaluationArguments, packageOf, type QuantizeAndMeasure } from '../quantize-and-measure.ts';
import { storiesGrids, storiesRecipes } from '../reference-values.ts';
import { storiesSetting } from './grid.ts';

/** A package beside its original on the whole evaluation text: what the studio's recommendations rest on. */
async function judge(m: QuantizeAndMeasure): Promise<Figure[]> {
  const { out } = await packageOf(m);
  const judged = await dbell(
    ['quality', out, '--against', m.model, '--no-samples', ...evaluationArguments(m.evaluation)],
    { home: path.join(m.scratch, 'home') },
  );
  const { windows, context } = m.evaluation;
  return [
    {
      name: `perplexity over full precision (${windows} × ${context} tokens)`,
      measured: numberAt(judged, 'perplexityRatio'),
    },
    { name: 'share of positions with the same top token', measured: numberAt(judged, 'topTokenAgreement') },
    {
      name: 'KL divergence, nats per token',
      measured: (judged.klDivergenceNats as { mean: number }).mean,
    },
    { name: 'verdict', measured: String(judged.verdict) },
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
