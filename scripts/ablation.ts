/**
 * What each part of the grid recipes is worth: quantizes a model with own targets and adds shifted targets, residual targets, token weights and column scales one
 * after the other; writes the model's table into docs/ablation.md. `npm run ablation -- --help`.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Command } from 'commander';
import { dbell, numberAt } from './acceptance/command.ts';
import { root } from './acceptance/harness.ts';

interface Step {
  name: string;
  /** `--set` of the recipe. */
  settings: Record<string, string>;
}

/** Each line adds one part to the line above, up to the recipe as it is; then come the recipe with other column scales and without token weights. */
const steps: readonly Step[] = [
  {
    name: 'own targets',
    settings: { 'targets.kind': 'own', 'targets.tokenWeights': 'false', columnScale: 'none' },
  },
  {
    name: '+ shifted targets: the outputs of the full-precision stream',
    settings: { 'targets.kind': 'shifted', 'targets.tokenWeights': 'false', columnScale: 'none' },
  },
  {
    name: '+ residual targets: the residual stream of full precision',
    settings: { 'targets.tokenWeights': 'false', columnScale: 'none' },
  },
  { name: '+ token weights', settings: { columnScale: 'none' } },
  { name: '+ column scales (the recipe)', settings: {} },
  {
    name: 'the same, column scales of o and down folded into v and up where the architecture allows it',
    settings: { columnScale: 'folded' },
  },
  { name: 'the recipe without token weights', settings: { 'targets.tokenWeights': 'false' } },
];

interface Options {
  recipes: string;
  activationBits: string;
  calibration: string;
  windows: string;
  context: string;
  text: string;
  evaluationWindows: string;
  evaluationContext: string;
  documentSeparator: string;
  scratch: string;
}

const program = new Command('ablation')
  .description('measures what each part of the grid recipes is worth and writes docs/ablation.md')
  .argument('<model>', 'folder or .gguf file')
  .option('--recipes <names>', 'grids, separated by commas', 'grid-2,grid-4')
  .option('--activation-bits <bits>', 'of the quantized linears’ inputs', '16')
  .option('--calibration <text>', 'calibration text', 'resources/dbell-stories/stories.train.sample.txt')
  .option('--windows <count>', 'calibration windows', '96')
  .option('--context <tokens>', 'tokens of a calibration window', '512')
  .option('--text <text>', 'held-out text', 'resources/dbell-stories/stories.valid.txt')
  .option('--evaluation-windows <count>', 'windows of held-out text', '64')
  .option('--evaluation-context <tokens>', 'tokens of a held-out window', '512')
  .option('--document-separator <id>', 'as perplexity takes it', '0')
  .option('--scratch <folder>', 'where packages go; what is there already is not made again', '.ablation')
  .parse();

const options = program.opts<Options>();
const model = path.resolve(program.args[0] ?? '');
const recipes = options.recipes.split(',');
const modelName = path.basename(model).replace(/\.gguf$/i, '');
const scratch = path.resolve(options.scratch);
const home = path.join(scratch, 'home');
mkdirSync(home, { recursive: true });

const evaluation = [
  ...['--text', path.resolve(options.text), '--context', options.evaluationContext],
  ...['--windows', options.evaluationWindows, '--document-separator', options.documentSeparator],
];

async function perplexityOf(subject: string): Promise<number> {
  return numberAt(await dbell(['perplexity', subject, ...evaluation], { home }), 'perplexity');
}

/** Perplexity and stored bits of one recipe at one step; kept beside the package, which is not needed again. */
async function measure(recipe: string, step: Step): Promise<{ perplexity: number; storedBits: number }> {
  const set = Object.entries(step.settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const parts = [modelName, recipe, `a${options.activationBits}`, ...Object.values(step.settings)];
  const sizes = [options.windows, options.context, options.evaluationWindows, options.evaluationContext];
  const name = [...parts, ...sizes].join('-');
  const kept = path.join(scratch, `${name}.json`);
  if (existsSync(kept)) return JSON.parse(readFileSync(kept, 'utf8')) as Awaited<ReturnType<typeof measure>>;
  const out = path.join(scratch, name);
  rmSync(out, { recursive: true, force: true });
  const made = await dbell(
    [
      ...['quantize', model, '--recipe', recipe, ...set, '--activation-bits', options.activationBits],
      ...['--calibration', path.resolve(options.calibration), '--windows', options.windows],
      ...['--context', options.context, '--out', out],
    ],
    { home },
  );
  const result = { perplexity: await perplexityOf(out), storedBits: numberAt(made, 'storedBitsPerWeight') };
  writeFileSync(kept, JSON.stringify(result));
  rmSync(out, { recursive: true, force: true });
  return result;
}

const shown = (value: number): string =>
  value >= 1000
    ? Math.round(value).toLocaleString('en-US')
    : value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2);

const fullPrecision = await perplexityOf(model);
console.log(`${modelName}: full precision ${shown(fullPrecision)}`);
const lines = [
  `## ${modelName}`,
  '',
  `Calibration: ${options.windows} × ${options.context} tokens of ${path.basename(options.calibration)}. Perplexity at A${options.activationBits} on the first ` +
    `${options.evaluationWindows} × ${options.evaluationContext} tokens of ${path.basename(options.text)}; full precision ${shown(fullPrecision)}.`,
  '',
  `| | ${recipes.join(' | ')} |`,
  `|---|${recipes.map(() => '---|').join('')}`,
];
for (const step of steps) {
  const cells: string[] = [];
  for (const recipe of recipes) {
    const { perplexity, storedBits } = await measure(recipe, step);
    cells.push(`${shown(perplexity)} (${storedBits.toFixed(2)} bits)`);
    console.log(`${recipe}, ${step.name}: ${shown(perplexity)} at ${storedBits.toFixed(3)} stored bits`);
  }
  lines.push(`| ${step.name} | ${cells.join(' | ')} |`);
}

const target = path.join(root, 'docs', 'ablation.md');
const introduction = [
  '# What each part of the grid recipes is worth',
  '',
  '<!-- Tables written by `npm run ablation -- MODEL`; do not edit. -->',
  '',
  'Each line adds one part to the line above, up to the recipe ([method.md](method.md), section 8); lines behind it change one part of it. Bits are stored bits of the quantized linears.',
  '',
  'Where a perplexity is many times that of full precision, the text is broken and the figure moves with every rounding and every calibration window (`dbellquant` on SmolLM2 with 3, 4 and 5 windows of 512 tokens: 55,557, 25,465 and 18,411): there only large differences mean something.',
].join('\n');

/** The sections of the other models, then this one's. */
function withSection(document: string, section: string): string {
  const sections = document.split(/^(?=## )/m).slice(1);
  const others = sections.filter((each) => !each.startsWith(`## ${modelName}\n`));
  return [introduction, ...others.map((each) => each.trimEnd()), section].join('\n\n').concat('\n');
}

const document = existsSync(target) ? readFileSync(target, 'utf8') : '';
writeFileSync(target, withSection(document, lines.join('\n')));
console.log(`written: ${target}`);
