import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { assets, numberAt } from '../command.ts';
import { atMost, type Figure, holds, type Item, within } from '../harness.ts';
import {
  judged,
  packageOf,
  perplexityOf,
  type QuantizeAndMeasure,
  storedBitsOf,
  verdictFigures,
} from '../quantize-and-measure.ts';
import { activationCost, smollmGrids, smollmSmallTables, storiesGrids } from '../reference-values.ts';
import { measureSmollmCost } from './cost.ts';
import { hashes, interruptedRun } from './kills.ts';
import { smollmSetting } from './recipes.ts';

interface GridRow {
  levels: number;
  storedBits: number | null;
  perplexity: number | null;
  tolerance: number;
}

/** Everything about a measurement but the grid. */
type Setting = Omit<QuantizeAndMeasure, 'recipe' | 'activationBits'>;

/** Whether two packages have the same weights, byte for byte. */
function sameWeights(a: string, b: string): boolean {
  const [left, right] = [a, b].map((folder) => readFileSync(path.join(folder, 'model.safetensors')));
  return left!.equals(right!);
}

/**
 * A grid beside its reference value. With quantized activations, where a limit is asked of their cost, also beside the same grid without, whose package is made
 * where it is missing. At A8 a grid has the weights that it has at A16 (`roundingAwareBits`), which is shown where a package is made for A8 too; with
 * `weightsOf16` the one made for A16 is run at A8.
 */
export async function measureGrid(
  row: GridRow,
  activationBits: 16 | 8,
  setting: Setting,
  weightsOf16 = false,
): Promise<Figure[]> {
  const { levels, storedBits, perplexity, tolerance } = row;
  const measure = async (bits: 16 | 8) => {
    const m = { ...setting, recipe: `grid-${levels}`, activationBits: bits };
    const { out, figures } = await packageOf(weightsOf16 ? { ...m, activationBits: 16 } : m);
    return { out, figures, value: await perplexityOf(m, out) };
  };
  const { out, figures: made, value } = await measure(activationBits);
  const { windows, context } = setting.evaluation;
  const name = `perplexity at A${activationBits} (${windows} × ${context} tokens)`;
  const figures: Figure[] = [
    ...made.map((figure) =>
      typeof figure.measured === 'number' ? atMost(figure.name, figure.measured, 1.5e9) : figure,
    ),
    storedBits === null
      ? { name: 'stored bits per weight', measured: storedBitsOf(out) }
      : within('stored bits per weight', storedBitsOf(out), storedBits, 0.02, true),
    perplexity === null ? { name, measured: value } : within(name, value, perplexity, tolerance, true),
  ];
  if (activationBits === 8 && weightsOf16)
    figures.push({ name: 'the package', measured: 'the one made for A16, run at A8' });
  if (activationBits === 8 && levels >= activationCost.leastLevels) {
    const { out: out16, value: value16 } = await measure(16);
    if (!weightsOf16)
      figures.push(holds('the weights are those made for A16, byte for byte', sameWeights(out, out16)));
    figures.push(atMost('perplexity over that at A16', value / value16, activationCost.mostRatio));
  }
  return figures;
}

export const storiesSetting = (scratch: string): Setting => ({
  scratch,
  name: 'stories',
  model: path.join(assets, 'models/dbell-stories-7m'),
  calibration: {
    text: path.join(assets, 'data/dbell-stories/stories.train.sample.txt'),
    windows: 96,
    context: 512,
  },
  evaluation: {
    text: path.join(assets, 'data/dbell-stories/stories.valid.txt'),
    windows: 64,
    context: 512,
    separator: '0',
  },
});

const gridItems = (
  model: 'stories' | 'smollm',
  title: string,
  rows: readonly GridRow[],
  setting: (scratch: string) => Setting,
): Item[] =>
  rows.flatMap((row) =>
    ([16, 8] as const).map((activationBits) => ({
      id: `grid/${model}-grid-${row.levels}-a${activationBits}`,
      title: `${title}, grid-${row.levels} at A${activationBits}`,
      // Making each of SmolLM2's anew for A8 only to get the same bytes would take an hour: grid-4 stands for them.
      run: ({ scratch }: { scratch: string }) =>
        measureGrid(
          row,
          activationBits,
          setting(scratch),
          activationBits === 8 && model === 'smollm' && row.levels !== 4,
        ),
    })),
  );

/** Bytes of every file of a package. */
function bytesOf(folder: string): number {
  return readdirSync(folder).reduce((sum, name) => sum + statSync(path.join(folder, name)).size, 0);
}

/** A grid with a small embedding: bytes, perplexity and verdict, and an opponent with the same embedding bits that must be larger and worse. */
export async function measureSmallTables(
  row: { recipe: string; opponent: string; embeddingBits: number; windows: number },
  given: Setting,
): Promise<Figure[]> {
  const setting = { ...given, evaluation: { ...given.evaluation, windows: row.windows } };
  const on = `(${row.windows} × ${setting.evaluation.context} tokens)`;
  const ours = { ...setting, recipe: row.recipe, activationBits: 16, embeddingBits: row.embeddingBits };
  const theirs = { ...ours, recipe: row.opponent };
  const { out } = await packageOf(ours);
  const { out: opponent } = await packageOf(theirs);
  const quality = await judged(ours, out);
  const perplexity = numberAt(quality, 'perplexity');
  const other = await perplexityOf(theirs, opponent);
  const tables = `${row.embeddingBits}-bit embedding`;
  return [
    { name: `bytes of ${row.recipe}, ${tables}`, measured: bytesOf(out) },
    { name: `bytes of ${row.opponent}, ${tables}`, measured: bytesOf(opponent) },
    holds(`${row.opponent} takes at least as many bytes`, bytesOf(opponent) >= bytesOf(out)),
    { name: `perplexity of ${row.recipe} ${on}`, measured: perplexity },
    { name: `perplexity of ${row.opponent} ${on}`, measured: other },
    holds(`${row.recipe} is better than ${row.opponent}`, perplexity < other),
    { name: 'perplexity over full precision', measured: numberAt(quality, 'perplexityRatio') },
    ...verdictFigures(quality),
    atMost('peak RSS of quality, bytes', numberAt(quality, 'peakRssBytes'), 1.5e9),
  ];
}

const costItem: Item = {
  id: 'grid/smollm-cost',
  title:
    'SmolLM2, 64 × 2048 calibration tokens, grid-4: time against two plain full-precision forward passes, peak memory, and the same bytes after three SIGKILLs',
  run: async ({ scratch, log }) => {
    const run = await measureSmollmCost(
      { recipe: 'grid-4', activationBits: 8, mostPasses: 3.5 },
      scratch,
      log,
    );
    const home = path.join(scratch, 'grid-smollm-cost-home');
    const out = path.join(scratch, 'packages', 'grid-smollm-cost-killed');
    for (const folder of [home, out, `${out}.partial`]) rmSync(folder, { recursive: true, force: true });
    await interruptedRun({
      quantize: [...run.arguments, '--out', out],
      out,
      home,
      kills: 3,
      undisturbedMs: run.commandMs,
      log,
    });
    const same = existsSync(out) && JSON.stringify(hashes(out)) === JSON.stringify(hashes(run.out));
    rmSync(out, { recursive: true, force: true });
    return [...run.figures, holds('killed three times and resumed: byte-identical', same)];
  },
};

/** The cost item comes first: it makes the package that `grid/smollm-grid-4-a8` measures. */
export const gridFamilyItems: Item[] = [
  ...gridItems('stories', 'dbell-stories-7m, 96 × 512 calibration tokens', storiesGrids, storiesSetting),
  costItem,
  ...gridItems(
    'smollm',
    'SmolLM2-135M-Instruct, 64 × 2048 calibration tokens of the C4 sample, WikiText-2',
    smollmGrids,
    smollmSetting,
  ),
  ...smollmSmallTables.map((row) => ({
    id: `grid/smollm-${row.recipe}-e${row.embeddingBits}`,
    title: `SmolLM2-135M-Instruct, ${row.recipe} with an embedding of ${row.embeddingBits} bits beside ${row.opponent}, at A16, WikiText-2`,
    run: ({ scratch }: { scratch: string }) => measureSmallTables(row, smollmSetting(scratch)),
  })),
];
