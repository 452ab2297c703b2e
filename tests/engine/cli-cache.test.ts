import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bundled } from '../assets.ts';
import { onlyJson, runCli } from './cli-run.ts';
import { packTinyModel } from './package-support.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-cli-cache-'));
const environment = { DBELL_HOME: path.join(folder, 'home') };
const packed = path.join(folder, 'packed');
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeAll(async () => {
  await packTinyModel(bundled.model, packed, { levels: 16 });
}, 60_000);

const scored = ['--text', 'bundled:stories-validation', '--context', '64', '--windows', '2'];

test('perplexity with another cache says so, is remembered with it, and does not become the package’s own', async () => {
  const before = readFileSync(path.join(packed, 'quality.json'), 'utf8');
  const plain = onlyJson(
    await runCli(['perplexity', packed, ...scored, '--json', '--no-remember'], environment),
  );
  const result = await runCli(['perplexity', packed, ...scored, '--kv-cache', 'int8'], environment);
  expect(result.exitCode).toBe(0);
  expect(result.stdout).toMatch(/computed\s.*activations 8 bits, rounded by token, cache int8/);
  expect(result.stderr).toContain('that with a cache of int8 is in the history');
  expect(readFileSync(path.join(packed, 'quality.json'), 'utf8')).toBe(before);
  const listed = onlyJson(await runCli(['history', 'list', '--json'], environment)) as {
    runs: { runId: string }[];
  };
  const shown = onlyJson(await runCli(['history', 'show', listed.runs[0]!.runId, '--json'], environment));
  expect(shown).toMatchObject({
    settings: { keyValueCache: 'int8' },
    results: { perplexity: { keyValueCache: 'int8' } },
  });
  const cached = (shown as { results: { perplexity: { perplexity: number } } }).results.perplexity.perplexity;
  expect(cached).not.toBe(plain.perplexity);
  expect(cached / (plain.perplexity as number)).toBeCloseTo(1, 1);
  expect(plain).not.toHaveProperty('keyValueCache');
});

test('generate takes it and tells it; a benchmark counts its bytes', async () => {
  const generated = await runCli(
    ['generate', packed, '--prompt', 'One', '--tokens', '3', '--greedy', '--kv-cache', 'f16'],
    environment,
  );
  expect(generated.exitCode).toBe(0);
  expect(generated.stderr).toContain('activations 8 bits, cache f16;');
  const measure = (cache: string) =>
    runCli(
      [
        ...['benchmark', packed, '--kv-cache', cache, '--prompt-tokens', '8', '--depths', '127'],
        ...['--generate-tokens', '1', '--repetitions', '1', '--no-remember', '--json'],
      ],
      environment,
    );
  const bytes: number[] = [];
  for (const cache of ['f32', 'f16', 'int8']) {
    const result = onlyJson(await measure(cache)) as {
      keyValueCache?: string;
      bytesReadPerToken: Record<string, { kvCache: number }>;
    };
    expect(result.keyValueCache).toBe(cache === 'f32' ? undefined : cache);
    bytes.push(result.bytesReadPerToken['127']!.kvCache);
  }
  expect(bytes.map((each) => each / bytes[0]!)).toEqual([1, 1 / 2, (64 + 4) / 256]);
}, 60_000);

test('a model in full precision and an unknown type are refused', async () => {
  const float = await runCli(
    ['perplexity', bundled.model, ...scored, '--kv-cache', 'f16', '--json'],
    environment,
  );
  expect(float.exitCode).not.toBe(0);
  expect(float.stderr + float.stdout).toContain('whose keys and values are float32');
  const unknown = await runCli(['generate', packed, '--prompt', 'One', '--kv-cache', 'q4'], environment);
  expect(unknown).toMatchObject({ exitCode: 2, stdout: '' });
  expect(unknown.stderr).toContain('Allowed: f32, f16, int8.');
});
