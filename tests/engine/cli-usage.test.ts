import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { bundled } from '../assets.ts';
import { onlyJson, runCli, startCli } from './cli-run.ts';

const cli = fileURLToPath(new URL('../../engine/cli/dbell.js', import.meta.url));

test('--help explains itself on standard output and succeeds', async () => {
  const result = await runCli(['--help']);
  expect(result).toMatchObject({ exitCode: 0, stderr: '' });
  expect(result.stdout).toContain('Usage: dbell');
  for (const line of result.stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(88);
});

test('no command is wrong usage', async () => {
  expect(await runCli([])).toMatchObject({ exitCode: 2, stdout: '' });
});

test('an unknown command is wrong usage', async () => {
  const result = await runCli(['quantise']);
  expect(result).toMatchObject({ exitCode: 2, stdout: '' });
  expect(result.stderr).toContain("unknown command 'quantise'; did you mean quantize?");
  const below = await runCli(['history', 'lsit']);
  expect(below.stderr).toContain("unknown command 'lsit'; did you mean list?");
});

test.each([
  [['quantize', 'model', '--receipe', 'rtn-4', '--out', 'x'], "'--receipe'; did you mean --recipe?"],
  [['estimate', 'model', '--receipe=rtn-4'], "'--receipe'; did you mean --recipe?"],
  [['benchmark', 'model', '--thread', '2'], "'--thread'; did you mean --threads?"],
  [['verify', 'model', '--no-rememver'], "'--no-rememver'; did you mean --no-remember?"],
  [['history', 'list', '--sort', 'bytes'], "'--sort'"],
])('%j: what was mistyped is told before what is missing, with what is near', async (args, expected) => {
  const result = await runCli(args);
  expect(result).toMatchObject({ exitCode: 2, stdout: '' });
  expect(result.stderr).toMatch(/^error: unknown option /);
  expect(result.stderr).toContain(expected);
});

test('help explains a command, and an unknown one is no success', async () => {
  expect(await runCli(['help', 'verify'])).toMatchObject({
    exitCode: 0,
    stdout: expect.stringContaining('Usage: dbell verify'),
  });
  const unknown = await runCli(['help', 'verifi']);
  expect(unknown).toMatchObject({ exitCode: 2, stdout: '' });
  expect(unknown.stderr).toContain("unknown command 'verifi'; did you mean verify?");
});

test('what is missing is told where nothing was mistyped', async () => {
  const result = await runCli(['quantize', 'model', '--out', 'x']);
  expect(result.stderr).toMatch(/^error: required option '--recipe <name>' not specified/);
  // What stands behind `--` is a name, whatever it begins with.
  const named = await runCli(['quantize', '--out', 'x', '--', '-model']);
  expect(named.stderr).toMatch(/^error: required option '--recipe <name>' not specified/);
  const both = await runCli(['quantize', '--receipe', 'rtn-4', '--out', 'x', '--', '-model']);
  expect(both.stderr).toContain("unknown option '--receipe'; did you mean --recipe?");
});

test('an unknown option is wrong usage, as JSON where that was asked for', async () => {
  const result = await runCli(['recipes', '--json', '--what']);
  expect(result.exitCode).toBe(2);
  expect(onlyJson(result)).toEqual({
    error: { code: 'invalid-input', message: "unknown option '--what'" },
  });
  expect(result.stderr).toContain('--what');
});

test('recipes prints one JSON object with every recipe', async () => {
  const result = await runCli(['recipes', '--json']);
  expect(result).toMatchObject({ exitCode: 0, stderr: '' });
  const { recipes } = onlyJson(result);
  expect(recipes).toEqual(expect.arrayContaining([expect.objectContaining({ name: 'dbellquant' })]));
});

test('tables stay within 80 columns', async () => {
  const { stdout } = await runCli(['recipes']);
  for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
});

test('environment says where the history is, by DBELL_HOME', async () => {
  const result = await runCli(['environment', '--json'], { DBELL_HOME: '/nowhere/dbell' });
  expect(onlyJson(result)).toMatchObject({ home: '/nowhere/dbell', native: { problem: null } });
});

test('an empty path is wrong usage, never the current folder', async () => {
  for (const args of [
    ['inspect', ''],
    ['verify', '', '--json'],
    ['quantize', 'model', '--recipe', 'rtn-4', '--out', ''],
    ['perplexity', 'model', '--text', ''],
  ]) {
    const result = await runCli(args);
    expect(result.exitCode).toBe(2);
    expect(result.stderr).toContain('A path must not be empty.');
  }
  const unnamed = await runCli(['perplexity', 'model', '--text', 'bundled:']);
  expect(unnamed).toMatchObject({ exitCode: 2, stdout: '' });
  expect(unnamed.stderr).toContain('A name must follow "bundled:".');
});

test.runIf(process.platform === 'linux')(
  'a result that cannot be written is a failure with its reason',
  () => {
    const full = openSync('/dev/full', 'w');
    const run = spawnSync(process.execPath, [cli, 'recipes', '--json'], { stdio: ['ignore', full, 'pipe'] });
    closeSync(full);
    expect(run.status).toBe(1);
    expect(run.stderr.toString()).toBe(
      'dbell: the output could not be written: ENOSPC: no space left on device, write\n',
    );
  },
);

test.each([
  [
    ['history', 'list', '--kind', 'quantise'],
    'Allowed choices are quantize, verify, perplexity, quality, benchmark',
  ],
  [['history', 'list', '--sort-by', 'size'], 'Allowed choices are createdAt'],
  [['history', 'show', '../x'], 'Runs are named by letters'],
  [['history', 'compare', 'abc'], 'give two runs or more to compare'],
  [['history', 'export', '--out', 'x.json', '--format', 'pdf'], 'Allowed choices are json, markdown, html'],
])('%j says what is possible, in its own words', async (args, expected) => {
  const result = await runCli(args, { DBELL_HOME: '/nowhere/dbell' });
  expect(result).toMatchObject({ exitCode: 2, stdout: '' });
  expect(result.stderr).toContain(expected);
});

describe('a reader that closes the pipe', () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-cli-pipe-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  test('before the work is done stops it, with the code of an interrupt and how to go on', async () => {
    const running = startCli(
      [
        ...['quantize', bundled.model, '--recipe', 'gptq-4', '--calibration', 'bundled:stories'],
        ...['--windows', '16', '--context', '256', '--out', path.join(folder, 'packed'), '--events'],
      ],
      { DBELL_HOME: path.join(folder, 'home') },
    );
    await running.until('job-layer');
    running.child.stdout!.destroy();
    const { exitCode, stderr } = await running.done;
    expect(stderr).toContain('Nobody reads the output any more');
    expect(stderr).toContain('Go on with: npx dbell resume');
    expect(exitCode).toBe(130);
  });

  test('of a result that is there already is no failure', async () => {
    const running = startCli(['recipes', '--json']);
    running.child.stdout!.destroy();
    expect(await running.done).toMatchObject({ exitCode: 0, stderr: '' });
  });
});
