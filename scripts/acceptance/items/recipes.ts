import { existsSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { assets, dbell, numberAt } from '../command.ts';
import { atMost, type Figure, type Item, within } from '../harness.ts';
import { smollmRecipes, storiesRecipes } from '../reference-values.ts';

const smollm = 'models/smollm2-135m-instruct-gguf/SmolLM2-135M-Instruct.Q4_1.gguf';

interface Measurement {
  scratch: string;
  model: string;
  recipe: string;
  activationBits: number;
  calibration: string;
  windows: number;
  context: number;
  evaluation: { text: string; context: number; windows: number; separator: string };
}

/** Folder of a package made here; later items use it again. */
export function packagePath(scratch: string, model: string, recipe: string, activationBits: number): string {
  return path.join(scratch, 'packages', `${model}-${recipe}-a${activationBits}`);
}

/** Quantizes (unless the package is there already) and measures the perplexity of the package with the packed runtime. */
async function quantizeAndMeasure(name: string, m: Measurement): Promise<Figure[]> {
  const home = path.join(m.scratch, 'home');
  const out = packagePath(m.scratch, name, m.recipe, m.activationBits);
  const figures: Figure[] = [];
  if (!existsSync(out)) {
    rmSync(`${out}.partial`, { recursive: true, force: true });
    const made = await dbell(
      [
        'quantize',
        path.join(assets, m.model),
        '--recipe',
        m.recipe,
        '--activation-bits',
        String(m.activationBits),
        '--calibration',
        path.join(assets, m.calibration),
        '--windows',
        String(m.windows),
        '--context',
        String(m.context),
        '--out',
        out,
      ],
      { home },
    );
    figures.push({ name: 'quantize seconds', measured: Math.round(numberAt(made, 'durationMs') / 100) / 10 });
    figures.push({
      name: 'peak RSS MiB of quantize',
      measured: Math.round(numberAt(made, 'peakRssBytes') / 2 ** 20),
    });
  }
  const quality = JSON.parse(readFileSync(path.join(out, 'quality.json'), 'utf8')) as {
    linears: { storedBitsPerWeight?: unknown };
  };
  const stored = quality.linears.storedBitsPerWeight;
  if (typeof stored !== 'number') throw new Error('quality.json has no linears.storedBitsPerWeight');
  figures.push({ name: 'stored bits per weight', measured: stored });
  const measured = await dbell(
    [
      'perplexity',
      out,
      '--text',
      path.join(assets, m.evaluation.text),
      '--context',
      String(m.evaluation.context),
      '--windows',
      String(m.evaluation.windows),
      '--document-separator',
      m.evaluation.separator,
    ],
    { home },
  );
  figures.push({
    name: `perplexity at A${m.activationBits} (${m.evaluation.windows} × ${m.evaluation.context} tokens)`,
    measured: numberAt(measured, 'perplexity'),
  });
  return figures;
}

/** Puts the asked value beside the figure whose name starts with `prefix`. */
function ask(figures: Figure[], prefix: string, check: (value: number, name: string) => Figure): Figure[] {
  return figures.map((figure) =>
    figure.name.startsWith(prefix) ? check(figure.measured as number, figure.name) : figure,
  );
}

export const storiesItems: Item[] = storiesRecipes.map((row) => ({
  id: `stories/${row.recipe}-a${row.activationBits}`,
  title: `dbell-stories-7m, ${row.recipe} at A${row.activationBits}, 96 × 512 calibration tokens`,
  run: async ({ scratch }) => {
    let figures = await quantizeAndMeasure('stories', {
      scratch,
      model: 'models/dbell-stories-7m',
      recipe: row.recipe,
      activationBits: row.activationBits,
      calibration: 'data/dbell-stories/stories.train.sample.txt',
      windows: 96,
      context: 512,
      evaluation: { text: 'data/dbell-stories/stories.valid.txt', context: 512, windows: 64, separator: '0' },
    });
    const { perplexity, storedBits, tolerance } = row;
    if (perplexity !== null)
      figures = ask(figures, 'perplexity', (value, name) => within(name, value, perplexity, tolerance, true));
    if (storedBits !== null)
      figures = ask(figures, 'stored bits', (value, name) => within(name, value, storedBits, 0.02, true));
    return figures;
  },
}));

export const smollmItems: Item[] = smollmRecipes.map((row) => ({
  id: `smollm/${row.recipe}-a${row.activationBits}`,
  title: `SmolLM2-135M-Instruct, ${row.recipe} at A${row.activationBits}, 64 × 2048 calibration tokens of the C4 sample, WikiText-2`,
  run: async ({ scratch }) => {
    let figures = await quantizeAndMeasure('smollm', {
      scratch,
      model: smollm,
      recipe: row.recipe,
      activationBits: row.activationBits,
      calibration: 'data/c4-sample/c4_sample.jsonl',
      windows: 64,
      context: 2048,
      evaluation: {
        text: 'data/wikitext-2-raw/wiki.test.joined.txt',
        context: 2048,
        windows: 148,
        separator: 'none',
      },
    });
    figures = ask(figures, 'peak RSS', (value, name) => atMost(name, value, 1.5e9 / 2 ** 20));
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
