/**
 * `npm run demo`: the main job on the bundled sample, with the same commands that a person types: inspect, quantize, verify, perplexity,
 * generate, benchmark, history. Everything it writes lies in .demo/ (the history too, unless DBELL_HOME says otherwise).
 */

import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { formatBytes, formatCount } from '../engine/contract/number-format.ts';
import { endsWithUs } from './children.ts';
import { pasteableCommand } from './pasteable.ts';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const folder = path.join(root, '.demo');
const home = process.env.DBELL_HOME ?? path.join(folder, 'home');
const model = path.join('resources', 'dbell-stories-7m');
const calibrationText = path.join('resources', 'dbell-stories', 'stories.train.sample.txt');
const heldOutText = path.join('resources', 'dbell-stories', 'stories.valid.txt');
const packages = [
  { recipe: 'dbellquant', activationBits: 8 },
  { recipe: 'gptq-4', activationBits: 8 },
].map((choice) => ({ ...choice, out: path.join('.demo', `dbell-stories-7m-${choice.recipe}`) }));
const prompt = 'One day, a little fox';

type Output = Record<string, unknown>;

/** What stands here works when it is pasted, in the repository's root. */
function commandLine(args: readonly string[]): string {
  return pasteableCommand(args, { root, home, ownHome: process.env.DBELL_HOME });
}

/**
 * Runs a command as a person would, its progress on this terminal, and returns what it prints with --json. `told` makes the line that stands for its result.
 */
async function dbell(args: string[], told: (output: Output) => string): Promise<Output> {
  console.log(`\n$ ${commandLine(args)}`);
  const output = await new Promise<Output>((resolve, reject) => {
    const child = endsWithUs(
      spawn(process.execPath, [path.join(root, 'engine', 'cli', 'dbell.js'), ...args, '--json'], {
        cwd: root,
        env: { ...process.env, DBELL_HOME: home },
        stdio: ['ignore', 'pipe', 'inherit'],
      }),
    );
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(JSON.parse(output) as Output);
      else reject(new Error(`dbell ${args[0]} ended with exit code ${code}`));
    });
  });
  console.log(`→ ${told(output)}`);
  return output;
}

function numberAt(output: Output, ...keys: string[]): number {
  let value: unknown = output;
  for (const key of keys) value = (value as Output)[key];
  if (typeof value !== 'number') throw new Error(`no number at ${keys.join('.')}`);
  return value;
}

/** The columns of the final table that any subject, original or packed, is measured for. */
async function measure(
  subject: string,
): Promise<{ perplexity: number; tokens: number; context: number; row: string[]; text: string }> {
  const perplexity = await dbell(
    ['perplexity', subject, '--text', heldOutText, '--context', '512', '--windows', '16'],
    (output) =>
      `perplexity ${numberAt(output, 'perplexity').toFixed(2)} on ${formatCount(numberAt(output, 'tokens'))} tokens`,
  );
  const generated = await dbell(
    ['generate', subject, '--prompt', prompt, '--tokens', '60', '--greedy'],
    (output) => `${(output.tokenIds as unknown[]).length} tokens; the text stands below`,
  );
  const benchmark = await dbell(
    ['benchmark', subject, '--prompt-tokens', '128', '--generate-tokens', '32', '--repetitions', '3'],
    (output) =>
      `decode ${numberAt(output, 'decodeTokensPerSecond', '0').toFixed(0)} tokens/s, peak memory ${formatBytes(numberAt(output, 'peakRssBytes'))}${output.stable === true ? '' : `; unstable: ${(output.stabilityNotes as string[]).join('; ')}`}`,
  );
  return {
    perplexity: numberAt(perplexity, 'perplexity'),
    tokens: numberAt(perplexity, 'tokens'),
    context: numberAt(perplexity, 'context'),
    text: String(generated.text),
    row: [
      numberAt(perplexity, 'perplexity').toFixed(2),
      numberAt(benchmark, 'prefillTokensPerSecond', '128').toFixed(0),
      numberAt(benchmark, 'decodeTokensPerSecond', '0').toFixed(0),
      formatBytes(numberAt(benchmark, 'peakRssBytes')),
      `${benchmark.kernelPath}${benchmark.stable === true ? '' : ' (unstable)'}`,
    ],
  };
}

const started = performance.now();
for (const { out } of packages) {
  rmSync(path.join(root, out), { recursive: true, force: true });
  rmSync(path.join(root, `${out}.partial`), { recursive: true, force: true });
}
const inspected = await dbell(
  ['inspect', model],
  (output) =>
    `${output.family}, ${numberAt(output, 'parameters').toLocaleString('en-US')} parameters, ${formatBytes(numberAt(output, 'fileBytes'))}`,
);
const original = await measure(model);
const rows: string[][] = [
  ['original (BF16)', formatBytes(numberAt(inspected, 'fileBytes')), '16.00', ...original.row],
];
const texts: [string, string][] = [['original', original.text]];
const runIds: string[] = [];
for (const { recipe, activationBits, out } of packages) {
  const made = await dbell(
    [
      ...['quantize', model, '--recipe', recipe, '--activation-bits', String(activationBits)],
      ...['--calibration', calibrationText, '--windows', '32', '--context', '512', '--out', out],
    ],
    (output) =>
      `${numberAt(output, 'storedBitsPerWeight').toFixed(2)} stored bits per weight, ${formatBytes(numberAt(output, 'modelBytes'))}`,
  );
  await dbell(
    ['verify', out, '--against', model],
    (output) => `${output.ok === true ? 'ok' : 'NOT ok'}, ${numberAt(output, 'checkedTensors')} tensors`,
  );
  const measured = await measure(out);
  rows.push([
    `${recipe}, A${activationBits}`,
    formatBytes(numberAt(made, 'modelBytes')),
    numberAt(made, 'storedBitsPerWeight').toFixed(2),
    ...measured.row,
  ]);
  texts.push([recipe, measured.text]);
  runIds.push(String(made.runId));
}
for (const runId of runIds)
  await dbell(
    ['history', 'show', runId],
    (output) => `${output.kind} ${output.state}, ${(output.layers as unknown[]).length} layers`,
  );

const heading = [
  '',
  'weight files',
  'bits/weight',
  'perplexity',
  'prefill tok/s',
  'decode tok/s',
  'peak memory',
  'computed by',
];
const table = [heading, ...rows];
const widths = heading.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
/** Breaks a text into lines of at most `width` characters at blanks. */
function wrap(text: string, width: number): string[] {
  return text.split('\n').flatMap((paragraph) => {
    const wrapped = [''];
    for (const word of paragraph.split(' ')) {
      const line = wrapped.at(-1)!;
      if (line !== '' && line.length + 1 + word.length > width) wrapped.push(word);
      else wrapped[wrapped.length - 1] = line === '' ? word : `${line} ${word}`;
    }
    return wrapped;
  });
}

console.log(`\n"${prompt} …", greedy:`);
for (const [name, text] of texts) console.log(`\n  ${name}:\n    ${wrap(text.trim(), 100).join('\n    ')}`);
console.log(
  `\n${table.map((row) => row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join('  ')).join('\n')}`,
);
console.log(`
bits/weight: bytes stored for the quantized layers, everything included; the size is that of the weight files
perplexity:  on ${heldOutText}, ${formatCount(original.tokens)} scored tokens, context ${original.context}
packages:    ${packages.map(({ out }) => path.join(root, out)).join('\n             ')}
history:     ${commandLine(['history', 'list'])}
took:        ${Math.round((performance.now() - started) / 1000)} s`);
