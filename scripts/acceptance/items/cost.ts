import { execFileSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import path from 'node:path';
import { assets, dbell, numberAt } from '../command.ts';
import { atMost, type Figure, type Item, root } from '../harness.ts';
import { packagePath } from '../quantize-and-measure.ts';
import { tinyLlamaTwoBlocks, writeRandomModel } from '../random-model.ts';
import { smollmModel } from './recipes.ts';

const c4 = 'data/c4-sample/c4_sample.jsonl';

/** Seconds of `passes` plain forward passes, measured in a fresh process. */
function forwardPassSeconds(
  model: string,
  text: string,
  windows: number,
  context: number,
  passes: number,
): number[] {
  const output = execFileSync(
    process.execPath,
    [
      path.join(root, 'scripts', 'acceptance', 'forward-pass.ts'),
      model,
      text,
      String(windows),
      String(context),
      String(passes),
    ],
    { encoding: 'utf8' },
  );
  return (JSON.parse(output) as { seconds: number[] }).seconds;
}

/**
 * Quantizes SmolLM2 on 64 × 2048 tokens of the C4 sample into the package that other items measure, between two plain forward passes over the same
 * tokens. Returns the figures and how long the command took.
 */
export async function measureSmollmCost(
  { recipe, activationBits, mostPasses }: { recipe: string; activationBits: number; mostPasses: number },
  scratch: string,
  log: (message: string) => void,
): Promise<{ figures: Figure[]; out: string; arguments: string[]; commandMs: number }> {
  const out = packagePath(scratch, 'smollm', recipe, activationBits);
  for (const folder of [out, `${out}.partial`]) rmSync(folder, { recursive: true, force: true });
  const pass = () =>
    forwardPassSeconds(path.join(assets, smollmModel), path.join(assets, c4), 64, 2048, 1)[0]!;
  const first = pass();
  log(`forward pass before: ${first} s`);
  const quantize = [
    ...['quantize', path.join(assets, smollmModel), '--recipe', recipe],
    ...['--activation-bits', String(activationBits), '--calibration', path.join(assets, c4)],
    ...['--windows', '64', '--context', '2048'],
  ];
  const started = performance.now();
  const made = await dbell([...quantize, '--out', out], { home: path.join(scratch, 'home') });
  const commandMs = performance.now() - started;
  const second = pass();
  const seconds = numberAt(made, 'durationMs') / 1000;
  return {
    figures: [
      { name: 'two forward passes, seconds', measured: first + second },
      { name: 'quantize, seconds', measured: seconds },
      atMost('quantize over two forward passes', seconds / (first + second), mostPasses),
      atMost('peak RSS of quantize, bytes', numberAt(made, 'peakRssBytes'), 1.5e9),
    ],
    out,
    arguments: quantize,
    commandMs,
  };
}

export const costItems: Item[] = [
  {
    id: 'cost/smollm2-dbellquant',
    title:
      'SmolLM2, 64 × 2048 calibration tokens, dbellquant: time against two plain full-precision forward passes, and peak memory',
    // The package is the one whose perplexity smollm/dbellquant-a8 measures.
    run: async ({ scratch, log }) =>
      (await measureSmollmCost({ recipe: 'dbellquant', activationBits: 8, mostPasses: 2.5 }, scratch, log))
        .figures,
  },
  {
    id: 'cost/tinyllama-two-blocks',
    title: 'A random model of the TinyLlama-1.1B shape, its first two blocks: peak memory of dbellquant',
    run: async ({ scratch }) => {
      const model = path.join(scratch, 'random-tinyllama');
      const out = path.join(scratch, 'packages', 'cost-tinyllama');
      if (!existsSync(path.join(model, 'tokenizer_config.json'))) writeRandomModel(model, tinyLlamaTwoBlocks);
      for (const folder of [out, `${out}.partial`]) rmSync(folder, { recursive: true, force: true });
      const made = await dbell(
        [
          'quantize',
          model,
          '--recipe',
          'dbellquant',
          '--calibration',
          path.join(assets, c4),
          '--windows',
          '4',
          '--context',
          '2048',
          '--out',
          out,
        ],
        { home: path.join(scratch, 'home') },
      );
      return [
        { name: 'quantize, seconds', measured: numberAt(made, 'durationMs') / 1000 },
        atMost('peak RSS of quantize, bytes', numberAt(made, 'peakRssBytes'), 4e9),
      ];
    },
  },
];
