/**
 * Writes docs/measurements.md and resources/measurements.json from docs/acceptance.json, so that no number there is typed by hand: `npm run measurements`.
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { type Figure, type ItemResult, readResults, root } from './acceptance/harness.ts';
import { writeMeasurementRows } from './measurement-rows.ts';

const sections: [prefix: string, heading: string, introduction: string][] = [
  [
    'full-precision/',
    'Full precision',
    'Perplexities of the models as they are, beside values computed independently in PyTorch.',
  ],
  [
    'greedy/',
    'Greedy continuations',
    'Token ids of greedy continuations, beside ids computed independently in PyTorch.',
  ],
  ['stories/', 'Recipes on dbell-stories-7m', 'The bundled model; full precision is 9.2188.'],
  [
    'smollm/',
    'Recipes on SmolLM2-135M-Instruct',
    'WikiText-2; full precision is 21.63. Values in the thousands mean broken text.',
  ],
  [
    'grid/',
    'The grid family',
    'Grids of 2 to 16 levels, quantized for activations of 16 and of 8 bits; lower perplexity is never wrong.',
  ],
  [
    'export-',
    'GGUF files in llama.cpp',
    'Exported packages, run by llama.cpp, beside the packed runtime at A16.',
  ],
  [
    'verdict/',
    'Verdicts on dbell-stories-7m',
    'Packages beside full precision on held-out stories: what the studio recommends by.',
  ],
  [
    'runtime/',
    'The packed runtime on the CPU',
    'Memory, time and what smaller caches of keys and values cost; speeds beside other programs are in [performance.md](performance.md).',
  ],
  [
    'gpu/',
    'WebGPU beside the CPU',
    'On an adapter that computes on the processor: greedy ids, perplexity and device memory of the same packages.',
  ],
  [
    'agreement/',
    'The packed runtime against the float path',
    'Rounded activations make mean losses random where a value lies on the border between two integers: either side of it is right, and a model with massive activations carries the choice through whole windows. Where all windows together do not make a difference sure to 0.0005 nats, two more figures stand beside it: what the float path differs from itself by, once its embeddings are moved by one unit in the last place; and what packed runtime and float path differ by, end to end, when both take the same rounded activations.',
  ],
  ['cost/', 'What quantizing costs', ''],
  ['kills/', 'Killed and resumed', ''],
  ['robustness/', 'Broken inputs, sanitizers, fuzzing', ''],
  ['clone/', 'A clean clone', ''],
];

/** At most five significant digits for numbers that are not whole. */
function show(value: Figure['measured']): string {
  if (typeof value !== 'number') return String(value).replaceAll('|', '\\|');
  return Number.isInteger(value) ? value.toLocaleString('en-US') : String(Number(value.toPrecision(5)));
}

function rows(id: string, result: ItemResult): string[] {
  const name = id.slice(id.indexOf('/') + 1);
  const state = result.status === 'passed' ? '' : ` (${result.status})`;
  if (result.figures.length === 0)
    return [`| ${name}${state} | ${result.error ?? ''} | | | ${result.commit} |`];
  return result.figures.map(
    (figure, index) =>
      `| ${index === 0 ? `${name}${state}` : ''} | ${figure.name} | ${show(figure.measured)}${figure.pass === false ? ' **(missed)**' : ''} | ${figure.asked ?? ''} | ${index === 0 ? result.commit : ''} |`,
  );
}

const results = Object.entries(readResults());
const homeless = results.filter(([id]) => !sections.some(([prefix]) => id.startsWith(prefix)));
if (homeless.length > 0)
  throw new Error(`no section of docs/measurements.md has ${homeless.map(([id]) => id).join(', ')}`);
const machines = [...new Set(results.map(([, result]) => result.machine))];
const lines = [
  '# Measurements',
  '',
  '<!-- Written by `npm run measurements` from acceptance.json; do not edit. -->',
  '',
  'What `npm run acceptance` measured, beside what was asked. A perplexity names its windows and tokens; "asked" is the value that an independent computation gave, or a limit.',
  '',
  `Machine: ${machines.join('; ')}.`,
];
for (const [prefix, heading, introduction] of sections) {
  const members = results.filter(([id]) => id.startsWith(prefix));
  if (members.length === 0) continue;
  lines.push(
    '',
    `## ${heading}`,
    '',
    ...(introduction ? [introduction, ''] : []),
    '| item | figure | measured | asked | commit |',
    '|---|---|---|---|---|',
  );
  for (const [id, result] of members) lines.push(...rows(id, result));
}
writeFileSync(path.join(root, 'docs', 'measurements.md'), `${lines.join('\n')}\n`);
writeMeasurementRows(readResults());
