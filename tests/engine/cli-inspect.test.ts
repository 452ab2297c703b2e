import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { bundled } from '../assets.ts';
import { onlyJson, runCli } from './cli-run.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-cli-inspect-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('inspect tells what the bundled model is', async () => {
  const result = await runCli(['inspect', bundled.model, '--json']);
  expect(result).toMatchObject({ exitCode: 0, stderr: '' });
  expect(onlyJson(result)).toMatchObject({
    format: 'huggingface',
    usable: true,
    family: 'llama',
    parameters: 7344384,
    architecture: { blocks: 8, hiddenSize: 256, heads: 4, keyValueHeads: 2, tiedHead: true },
    problems: [],
  });
});

test('inspect prints every line within 80 columns', async () => {
  const { stdout } = await runCli(['inspect', bundled.model]);
  expect(stdout).toContain('7,344,384');
  for (const line of stdout.split('\n').filter((line) => !line.startsWith('path'))) {
    expect(line.length).toBeLessThanOrEqual(80);
  }
});

test('a model that does not exist fails with its path', async () => {
  const missing = path.join(folder, 'missing');
  const result = await runCli(['inspect', missing, '--json']);
  expect(result.exitCode).toBe(1);
  expect(onlyJson(result)).toEqual({
    error: { code: 'not-found', message: `${missing}: there is no such file or folder` },
  });
});

test('a folder that is no model fails and lists what is wrong', async () => {
  writeFileSync(path.join(folder, 'config.json'), '{"model_type": "made-up"}');
  const result = await runCli(['inspect', folder, '--json']);
  expect(result.exitCode).toBe(1);
  const { usable, problems } = onlyJson(result);
  expect(usable).toBe(false);
  expect(problems).toEqual(expect.arrayContaining([expect.objectContaining({ severity: 'error' })]));
});

test('estimate itemises bytes, and its items add up', async () => {
  const result = await runCli([
    'estimate',
    bundled.model,
    '--recipe',
    'dbellquant',
    '--windows',
    '4',
    '--json',
  ]);
  expect(result.exitCode).toBe(0);
  const estimate = onlyJson(result) as Record<string, number> & Record<string, { bytes: number }[]>;
  for (const [total, items] of [
    ['packageBytes', 'packageItems'],
    ['peakMemoryBytes', 'memoryItems'],
    ['diskBytes', 'diskItems'],
  ] as const) {
    const sum = estimate[items]!.reduce((bytes, item) => bytes + item.bytes, 0);
    expect(sum).toBe(estimate[total]);
  }
  expect(estimate).toMatchObject({ windows: 4, context: 512, timeMs: { basis: 'measured' } });
});

test('an unknown recipe is wrong usage and the known ones are named', async () => {
  const result = await runCli(['estimate', bundled.model, '--recipe', 'dbell']);
  expect(result).toMatchObject({ exitCode: 2, stdout: '' });
  expect(result.stderr).toContain('dbellquant, dbellquant-reference');
});

test.each([
  [['--windows', '0']],
  [['--windows', 'many']],
  [['--context', '1']],
  [['--activation-bits', '7']],
  [['--embedding-bits', '5']],
  [['--set', 'novalue']],
  [['--threads', '-1']],
])('estimate refuses %j as wrong usage', async (extra) => {
  const result = await runCli(['estimate', bundled.model, '--recipe', 'rtn-4', ...extra]);
  expect(result).toMatchObject({ exitCode: 2, stdout: '' });
  expect(result.stderr).toContain(extra[0]);
});

test('estimate says what quantize would refuse: windows beyond the model’s context, where there are any', async () => {
  const estimate = (recipe: string) =>
    runCli(['estimate', bundled.model, '--recipe', recipe, '--windows', '64', '--context', '1024']);
  const refused = await estimate('gptq-4');
  expect(refused.exitCode).toBe(1);
  expect(`${refused.stdout}${refused.stderr}`).toContain(
    "a window has 1024 tokens, but the model's context length is 512; choose a smaller context",
  );
  expect(await estimate('rtn-4')).toMatchObject({ exitCode: 0 });
});

test('estimate says that its span is wide where no block was timed', async () => {
  const estimate = async (...extra: string[]) =>
    (await runCli(['estimate', bundled.model, '--recipe', 'rtn-4', ...extra])).stdout;
  const why = 'no block was timed here, so the span is wide';
  expect(await estimate('--no-measure-speed')).toContain(why);
  expect(await estimate()).not.toContain(why);
});

test('the work folder of an unfinished quantization is named as what it is', async () => {
  const work = path.join(folder, 'packed.partial');
  mkdirSync(work);
  writeFileSync(path.join(work, 'run.json'), '{}');
  const result = await runCli(['inspect', work, '--json']);
  expect(result.exitCode).toBe(1);
  const { problems } = onlyJson(result) as { problems: { code: string; message: string }[] };
  expect(problems[0]).toMatchObject({ code: 'unfinished', message: expect.stringContaining('dbell resume') });
});

test('a native part that is not built is named, with the command that builds it', async () => {
  const addon = path.join(folder, 'not-built.node');
  const result = await runCli(['inspect', bundled.model], {
    DBELL_NATIVE_ADDON: addon,
    DBELL_HOME: path.join(folder, 'home'),
  });
  expect(result.exitCode).toBe(1);
  expect(result.stderr).toMatch(
    /exit code 1; its last output: Error: The native part could not be loaded from .*not-built\.node; build it with: npm run build:native\n$/,
  );
});
