import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { openModel } from '../../engine/model/open.ts';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import { bundled } from '../assets.ts';
import { onlyJson, runCli } from './cli-run.ts';
import { lowBitGguf } from './model-low-bit-support.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-cli-export-'));
afterAll(() => rmSync(folder, { recursive: true }));
const environment = { DBELL_HOME: path.join(folder, 'home') };
const at = (name: string) => path.join(folder, name);

test('a natively binary GGUF is recognised, kept as it is, and exported again with the same weights', async () => {
  writeFileSync(at('native.gguf'), lowBitGguf('Q1_0', new SeededRandom(21)));
  const described = onlyJson(await runCli(['inspect', at('native.gguf'), '--json'], environment));
  expect(described.lowBit).toEqual({ levels: 2, storedTypes: ['Q1_0'], isStored: true });
  const shown = await runCli(['inspect', at('native.gguf')], environment);
  expect(shown.stdout).toContain('binary weights in all linears; recipe as-is keeps them exactly');

  const kept = await runCli(
    ['quantize', at('native.gguf'), '--recipe', 'as-is', '--out', at('kept'), '--json'],
    environment,
  );
  expect(onlyJson(kept)).toMatchObject({
    recipe: 'as-is',
    storedBitsPerWeight: 1.125,
    calibration: null,
    meanRelativeError: 0,
  });
  const verified = await runCli(
    ['verify', at('kept'), '--against', at('native.gguf'), '--json'],
    environment,
  );
  expect(onlyJson(verified)).toMatchObject({ ok: true, problems: [] });

  const args = [
    'export',
    at('kept'),
    '--format',
    'gguf',
    '--out',
    at('again.gguf'),
    '--rounding',
    'exact',
    '--json',
  ];
  const result = await runCli(args, environment);
  const exported = onlyJson(result);
  expect(exported.packageBytes).toBe(statSync(path.join(at('kept'), 'model.safetensors')).size);
  expect(exported.bytes).toBeLessThan(exported.packageBytes as number);
  expect(result.stderr).not.toContain('larger');
  expect(exported).toMatchObject({ out: at('again.gguf'), format: 'gguf', notes: [] });
  expect(Object.keys(exported.types as object).sort()).toEqual(['F16', 'F32', 'Q1_0']);
  const [before, after] = [await openModel(at('native.gguf')), await openModel(at('again.gguf'))];
  for (const [name, { storedType }] of before.tensors) {
    if (storedType !== 'Q1_0') continue;
    expect(after.lowBitWeight!(name)).toEqual(before.lowBitWeight!(name));
  }
  before.close();
  after.close();

  const weights = readFileSync(path.join(at('kept'), 'model.safetensors'));
  weights.writeUInt8(weights.readUInt8(weights.length - 200) ^ 1, weights.length - 200);
  cpSync(at('kept'), at('damaged'), { recursive: true });
  writeFileSync(path.join(at('damaged'), 'model.safetensors'), weights);
  const damaged = await runCli(
    ['export', at('damaged'), '--format', 'gguf', '--out', at('damaged.gguf')],
    environment,
  );
  expect(damaged.exitCode).toBe(1);
  expect(damaged.stderr).toContain('its bytes differ from the SHA-256 in config.json');
  expect(existsSync(at('damaged.gguf'))).toBe(false);

  const second = await runCli(args, environment);
  expect(second.exitCode).toBe(1);
  expect(onlyJson(second).error).toMatchObject({ code: 'output-exists' });
});

test('an export that does not map says why and writes nothing', async () => {
  const model = path.resolve(import.meta.dirname, '../fixtures/model/tiny/llama-plain');
  await runCli(['quantize', model, '--recipe', 'rtn-4', '--out', at('rounded'), '--json'], environment);
  const result = await runCli(
    ['export', at('rounded'), '--format', 'gguf', '--out', at('no.gguf'), '--json'],
    environment,
  );
  expect(result.exitCode).toBe(1);
  expect(onlyJson(result).error).toEqual({
    code: 'unsupported-model',
    message:
      "model.layers.0.mlp.down_proj cannot be exported: its 48 columns are no multiple of 32, GGUF's block; dequantized to 16 bits a weight it can be exported (--weights f16)",
  });
  expect(readdirSync(folder).filter((name) => name.startsWith('no.gguf'))).toEqual([]);
  expect(existsSync(at('rounded'))).toBe(true);
  const wrong = await runCli(['export', at('rounded'), '--format', 'onnx', '--out', at('x')], environment);
  expect(wrong.exitCode).toBe(2);
});

test('a file that is larger than the package is told, with both sizes', async () => {
  const made = await runCli(
    [
      ...['quantize', bundled.model, '--recipe', 'grid-4', '--set', 'columnScale=none', '--set', 'rounds=1'],
      ...['--calibration', 'bundled:stories', '--windows', '1', '--context', '32', '--out', at('grown')],
    ],
    environment,
  );
  expect(made.exitCode).toBe(0);
  const result = await runCli(
    ['export', at('grown'), '--format', 'gguf', '--out', at('grown.gguf')],
    environment,
  );
  expect(result.stderr).toMatch(
    /^warning: the file is larger than the package: \S+ MB against \S+ MB of its weight file \(1\.\d\d times\)/m,
  );
  expect(result.stderr).not.toContain("the original's");
  expect(result.stdout).toMatch(/^\S+grown\.gguf: \S+ MB, the package's weight file \S+ MB$/m);
});
