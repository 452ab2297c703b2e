import path from 'node:path';
import { assets, dbell, numberAt } from '../command.ts';
import { holds, type Item, within } from '../harness.ts';
import { fullPrecision, greedy } from '../reference-values.ts';

/** Full-precision perplexities within 0.3% of the independent values. */
export const fullPrecisionItems: Item[] = fullPrecision.map((row) => ({
  id: `full-precision/${row.id}`,
  title: `Full-precision perplexity of ${row.model} on ${row.text}, ${row.windows} × ${row.context} tokens`,
  run: async ({ scratch }) => {
    const output = await dbell(
      [
        'perplexity',
        path.join(assets, row.model),
        ...['--text', path.join(assets, row.text), '--context', String(row.context)],
        ...['--windows', String(row.windows), '--document-separator', row.separator],
      ],
      { home: path.join(scratch, 'home') },
    );
    return [
      within('perplexity', numberAt(output, 'perplexity'), row.perplexity, 0.003),
      {
        name: 'scored tokens',
        measured: numberAt(output, 'tokens'),
        asked: String(row.windows * (row.context - 1)),
        pass: numberAt(output, 'tokens') === row.windows * (row.context - 1),
      },
    ];
  },
}));

/** Greedy continuations identical to the independent ones. */
export const greedyItems: Item[] = greedy.map((row) => ({
  id: `greedy/${row.id}`,
  title: `Greedy continuation of "${row.prompt}" by ${row.model}`,
  run: async ({ scratch }) => {
    const output = await dbell(
      [
        'generate',
        path.join(assets, row.model),
        '--prompt',
        row.prompt,
        '--tokens',
        String(row.ids.length),
        '--greedy',
      ],
      { home: path.join(scratch, 'home') },
    );
    const ids = (output.tokenIds as number[]).slice(-row.ids.length);
    return [holds(`ids ${ids.join(' ')} as listed`, JSON.stringify(ids) === JSON.stringify(row.ids))];
  },
}));
