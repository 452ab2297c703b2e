import { spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { onlyJson, runCli } from './cli-run.ts';

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
  expect(result.stderr).toContain("unknown command 'quantise'");
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
