import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bundled } from '../assets.ts';
import { onlyJson, runCli } from './cli-run.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-cli-history-'));
const environment = { DBELL_HOME: path.join(folder, 'home') };
afterAll(() => rmSync(folder, { recursive: true }));

const text = path.join(folder, 'text.txt');
writeFileSync(text, readFileSync(bundled.validationText).subarray(0, 20_000));
const perplexity = (context: string) => [
  ...['perplexity', bundled.model, '--text', text, '--windows', '2', '--context', context, '--json'],
];
const list = async (...more: string[]) =>
  onlyJson(await runCli(['history', 'list', '--json', ...more], environment)) as {
    runs: { runId: string; metrics: Record<string, number>; tags: string[] }[];
    total: number;
  };

let ids: string[];
beforeAll(async () => {
  ids = [];
  for (const context of ['16', '32']) {
    ids.push(onlyJson(await runCli(perplexity(context), environment)).runId as string);
  }
});

test('looking at a model leaves no history behind; an empty history says how to begin', async () => {
  const home = path.join(folder, 'nothing');
  await runCli(['inspect', bundled.model], { DBELL_HOME: home });
  await runCli(['recipes'], { DBELL_HOME: home });
  expect(existsSync(home)).toBe(false);
  expect((await runCli(['history', 'list'], { DBELL_HOME: home })).stdout).toContain('No runs yet');
});

test('list shows the newest first, sorts by any figure, and pages', async () => {
  expect((await list()).runs.map(({ runId }) => runId)).toEqual(ids.toReversed());
  const sorted = (await list('--sort-by', 'perplexity', '--ascending')).runs;
  expect(sorted[0]!.metrics.perplexity).toBeLessThan(sorted[1]!.metrics.perplexity!);
  expect(await list('--limit', '1')).toMatchObject({ runs: [{ runId: ids[1] }], total: 2 });
});

test('list stays within 80 columns', async () => {
  const { stdout } = await runCli(['history', 'list'], environment);
  expect(stdout).toContain(ids[0]!.slice(0, 8));
  for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
});

test('show takes the first characters of an id', async () => {
  const result = await runCli(['history', 'show', ids[0]!.slice(0, 8), '--json'], environment);
  expect(onlyJson(result)).toMatchObject({
    runId: ids[0],
    kind: 'perplexity',
    state: 'finished',
    metrics: { perplexityTokens: 30, perplexityContext: 16 },
    environment: { nodeVersion: process.version },
  });
});

test('show prints text without JSON in it, within 80 columns', async () => {
  const { stdout } = await runCli(['history', 'show', ids[0]!], environment);
  expect(stdout).toMatch(/^begun +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/m);
  expect(stdout).toMatch(/^ {2}perplexity +\d/m);
  expect(stdout).toMatch(/^ {2}kept in the history +yes$/m);
  expect(stdout).not.toMatch(/[{}[\]"]|null|true/);
  for (const line of stdout.split('\n').filter((line) => !line.includes(bundled.model)))
    expect(line.length).toBeLessThanOrEqual(80);
});

test('show of an unknown run fails and says which', async () => {
  const result = await runCli(['history', 'show', 'ffffffff-none', '--json'], environment);
  expect(result.exitCode).toBe(1);
  expect(onlyJson(result)).toMatchObject({ error: { code: 'not-found' } });
});

test('compare puts differences first and flags unlike conditions', async () => {
  const result = onlyJson(await runCli(['history', 'compare', ...ids, '--json'], environment)) as {
    differences: { field: string; values: unknown[] }[];
    warnings: string[];
  };
  expect(result.differences).toContainEqual({
    ...{ group: 'settings', field: 'context', values: [16, 32] },
    warning: null,
  });
  expect(result.warnings.join()).toContain('context');
  expect((await runCli(['history', 'compare', ids[0]!], environment)).exitCode).toBe(2);
  const { stdout } = await runCli(['history', 'compare', ...ids], environment);
  expect(stdout.split('\n')[1]).toMatch(/^kind +perplexity +perplexity$/);
  expect(stdout.split('\n')[2]).toMatch(/^model +dbell-stories-7m +dbell-stories-7m$/);
});

test('annotate gives tags that list finds', async () => {
  await runCli(['history', 'annotate', ids[0]!, '--tag', 'kept', '--note', 'a note'], environment);
  expect((await list('--tag', 'kept')).runs.map(({ runId }) => runId)).toEqual([ids[0]]);
  expect((await list('--text', 'NOTE')).total).toBe(1);
  const nothing = await runCli(['history', 'annotate', ids[0]!, '--json'], environment);
  expect(nothing.exitCode).toBe(2);
  expect(onlyJson(nothing)).toMatchObject({ error: { code: 'invalid-input' } });
});

test('delete hides runs and undo brings them back', async () => {
  const deleted = onlyJson(await runCli(['history', 'delete', ids[1]!, '--json'], environment));
  expect(deleted).toEqual({ deleted: 1 });
  expect((await list()).total).toBe(1);
  expect(onlyJson(await runCli(['history', 'undo', '--json'], environment))).toEqual({ restored: [ids[1]] });
  expect((await list()).total).toBe(2);
});

test('an exported history comes back whole elsewhere, and only once', async () => {
  const file = path.join(folder, 'export.json');
  const exported = await runCli(['history', 'export', '--out', file, '--json'], environment);
  expect(onlyJson(exported)).toMatchObject({ path: file, runs: 2 });
  const again = await runCli(['history', 'export', '--out', file, '--json'], environment);
  expect(onlyJson(again)).toMatchObject({ error: { code: 'output-exists' } });
  const elsewhere = { DBELL_HOME: path.join(folder, 'elsewhere') };
  const imported = () => runCli(['history', 'import', file, '--json'], elsewhere);
  expect(onlyJson(await imported())).toEqual({ imported: 2, known: 0, refused: 0, refusals: [] });
  expect(onlyJson(await imported())).toEqual({ imported: 0, known: 2, refused: 0, refusals: [] });
  const show = (home: Record<string, string>) => runCli(['history', 'show', ids[1]!, '--json'], home);
  expect(onlyJson(await show(elsewhere))).toEqual(onlyJson(await show(environment)));
});

test.each(['markdown', 'html'])('exports a table as %s', async (format) => {
  const file = path.join(folder, `table.${format}`);
  await runCli(['history', 'export', ids[0]!, '--out', file, '--format', format], environment);
  expect(readFileSync(file, 'utf8')).toContain('dbell-stories-7m');
});

test('a measurement survives a history that cannot be written, with a warning', async () => {
  const home = path.join(folder, 'file-in-the-way');
  writeFileSync(home, '');
  const result = await runCli(perplexity('16'), { DBELL_HOME: home });
  expect(result.exitCode).toBe(0);
  expect(onlyJson(result)).toMatchObject({ context: 16 });
  expect(result.stderr).toContain('missing in the history');
});

test('a history file that is none is kept under another name', async () => {
  const home = path.join(folder, 'damaged');
  mkdirSync(home);
  writeFileSync(path.join(home, 'history.sqlite'), 'not a database at all, but long enough to be looked at');
  chmodSync(home, 0o755);
  const result = await runCli(['history', 'list', '--json'], { DBELL_HOME: home });
  expect(result.exitCode).toBe(0);
  expect(onlyJson(result)).toEqual({ runs: [], total: 0 });
  expect(result.stderr).toContain('warning');
});
