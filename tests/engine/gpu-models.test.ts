import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openPackage } from '../../engine/package/open.ts';
import type { Device } from '../../engine/runtime/device.ts';
import { createPackedTextModel } from '../../engine/runtime/packed-text-model.ts';
import type { GpuContext } from '../../engine/runtime/webgpu/context.ts';
import { makePackage, windowsOf } from '../../scripts/acceptance/agreement-packages.ts';
import { asset } from '../assets.ts';
import { openTestContext, sharedDevice, testAdapter } from './gpu-support.ts';
import { type PackOptions, packTinyModel, tinyModels } from './package-support.ts';
import { mean, relativeError } from './runtime-support.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-gpu-'));
const adapter = await testAdapter();
let context: GpuContext;
let device: Device;

beforeAll(async () => {
  if (adapter === null) return;
  context = await openTestContext(adapter);
  device = sharedDevice(context);
});
afterAll(() => {
  context?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** 128 ids stored with each model. */
function idsOf(name: string): number[] {
  const text = readFileSync(path.join(tinyModels, name, 'expected.json'), 'utf8');
  return (JSON.parse(text) as { ids: number[] }).ids;
}

const options: PackOptions[] = [
  { levels: 16 },
  { levels: 5, transform: true, embeddingBits: 8 },
  { levels: 3, residualShare: 0.2, transform: true, embeddingBits: 6 },
  { levels: 2, embeddingBits: 4 },
];
const models = readdirSync(tinyModels).map((name, index) => ({
  name,
  options: options[index % options.length]!,
}));

/** Run with activations of 8 bits too: one of each kind of block. The kernels themselves are checked exactly in gpu-linears.test.ts. */
const roundedToo = ['bitnet', 'llama-odd-widths', 'opt-post-norm-projected', 'qwen3'];

/**
 * Sums in another order differ in the last bits; at 8 bits, and in the input of a quantized head, a value on the border between two codes may then fall either way, which is
 * felt in models of random weights.
 */
const tolerances = {
  16: { logits: 2e-5, loss: 1e-5 },
  head: { logits: 0.02, loss: 1e-3 },
  8: { logits: 0.1, loss: 0.02 },
};

describe.skipIf(adapter === null)('every kind of model runs on the device as on the CPU', () => {
  test.each(models)('$name, $options', async ({ name, options }) => {
    const source = await openPackage(await packTinyModel(name, path.join(folder, name), options));
    const ids = Int32Array.from(idsOf(name)).subarray(0, 80);
    for (const activationBits of roundedToo.includes(name) ? ([16, 8] as const) : ([16] as const)) {
      const tolerance =
        activationBits === 16 && source.head.bits < 16 ? tolerances.head : tolerances[activationBits];
      const cpu = await createPackedTextModel(source, { threads: 1, activationBits });
      const gpu = await createPackedTextModel(source, { threads: 1, activationBits, device });
      const [cpuSession, gpuSession] = [await cpu.createSession(), await gpu.createSession()];
      const expected = await cpuSession.tokenLosses(ids);
      const losses = await gpuSession.tokenLosses(ids);
      expect(losses).toHaveLength(expected.length);
      expect(Math.abs(mean(losses) - mean(expected))).toBeLessThan(tolerance.loss);
      // A long beginning in chunks, then tokens one by one.
      for (const [begin, end] of [
        [0, 66],
        [66, 67],
        [67, 68],
      ] as const) {
        const part = ids.subarray(begin, end);
        const logits = await cpuSession.feed(part);
        expect(relativeError(await gpuSession.feed(part), logits)).toBeLessThan(tolerance.logits);
      }
      await gpu.close();
      await cpu.close();
    }
    source.close();
  });
});

const stories = asset('models/stories260k/hf');
const text = asset('data/tinystories-sample/tinystories_sample.txt');
const calibrationWindows = { separatorId: 1, context: 256, windows: 4, skip: 0, path: '' };
const recipes = ['grid-2', 'grid-3', 'grid-4', 'grid-16', 'gptq-2', 'dbellquant', 'billm'];

describe.skipIf(adapter === null || stories === null || text === null)('stories260k', () => {
  test.each(recipes)('%s: the same greedy ids and losses as the CPU', async (recipe) => {
    const out = path.join(folder, recipe);
    await makePackage({
      ...{ modelPath: stories!, recipe, activationBits: 8, embeddingBits: 16, out, threads: 1 },
      calibration: (source) => windowsOf(source, text!, calibrationWindows),
    });
    for (const activationBits of [16, 8] as const) {
      const expected = await greedy(out, activationBits, undefined);
      const got = await greedy(out, activationBits, device);
      expect(got.ids).toEqual(expected.ids);
      const difference = Math.abs(mean(got.losses) - mean(expected.losses));
      expect(difference).toBeLessThan(tolerances[activationBits].loss);
    }
  });

  test('window logits in pieces, a cache that grows, and a second session', async () => {
    const out = path.join(folder, recipes[0]!);
    const ids = Int32Array.from({ length: 300 }, (_, index) => 3 + ((index * 41) % 500));
    const gpu = await createPackedTextModel(out, { threads: 1, activationBits: 16, device });
    const cpu = await createPackedTextModel(out, { threads: 1, activationBits: 16 });
    const sessions = [
      await gpu.createSession(),
      await cpu.createSession(),
      await gpu.createSession(),
    ] as const;
    const rows: Float32Array[][] = [[], []];
    for (const index of [0, 1] as const)
      for await (const piece of sessions[index].windowLogits(ids.subarray(0, 90), 40))
        rows[index]!.push(piece.slice());
    expect(rows[0]!.map(({ length }) => length)).toEqual(rows[1]!.map(({ length }) => length));
    for (const [index, piece] of rows[0]!.entries())
      expect(relativeError(piece, rows[1]![index]!)).toBeLessThan(1e-5);
    const before = sessions[0].cacheBytes;
    const last = await sessions[0].feed(ids);
    expect(sessions[0].cacheBytes).toBeGreaterThan(before);
    expect(relativeError(last, await sessions[1].feed(ids))).toBeLessThan(1e-5);
    expect(sessions[2].position).toBe(0);
    const weights = gpu.memoryBytes.weights!;
    expect(weights).toBeGreaterThan(0);
    await gpu.close();
    await cpu.close();
    expect(context.memoryBytes).toEqual({ weights: 0, cache: 0, scratch: 0 });
  });
});

/** Ids chosen greedily after a prompt, and the prompt's losses. */
async function greedy(out: string, activationBits: 16 | 8, on: Device | undefined) {
  const model = await createPackedTextModel(out, { threads: 1, activationBits, device: on });
  const session = await model.createSession();
  const prompt = Int32Array.of(1, 403, 407, 261, 378, 31, 417, 277);
  const losses = await session.tokenLosses(prompt);
  const ids: number[] = [];
  let logits = await session.feed(prompt);
  while (ids.length < 16) {
    const best = logits.indexOf(logits.reduce((most, value) => Math.max(most, value)));
    ids.push(best);
    logits = await session.feed(Int32Array.of(best));
  }
  await model.close();
  return { ids, losses };
}
