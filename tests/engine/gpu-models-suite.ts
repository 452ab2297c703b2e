import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import type { KeyValueCache } from '../../engine/contract/common.ts';
import { openPackage } from '../../engine/package/open.ts';
import type { PackageSource } from '../../engine/package/types.ts';
import type { ActivationBits, Device } from '../../engine/runtime/device.ts';
import { createPackedTextModel } from '../../engine/runtime/packed-text-model.ts';
import { type PackOptions, packTinyModel, tinyModels } from './package-support.ts';
import { mean, relativeError } from './runtime-support.ts';
import { writeWideModel } from './wide-model.ts';

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

/**
 * Run with activations of 8 bits too: one of each kind of block, and each kind of head. There every operation up to the head has the CPU's bits, a head of 8, 6 or 4 bits
 * included.
 */
const roundedToo = ['bitnet', 'llama-mlp-bias', 'llama-odd-widths', 'opt-post-norm-projected', 'qwen3'];
/** Tables of float values between embedding and head are multiplied with sums in another order, as everything is at 16 bits. */
const hasFloatProjections = (name: string) => name.includes('projected');

/**
 * At 16 bits, and in a head of float values, sums in another order differ in the last bits; in the input of a quantized head a value on the border between two codes may then
 * fall either way, which is felt in models of random weights. `exact` is said of logits; losses are taken of them in float32.
 */
export const tolerances = {
  exact: { logits: 0, loss: 2e-6 },
  16: { logits: 2e-5, loss: 1e-5 },
  head: { logits: 0.02, loss: 1e-3 },
  8: { logits: 1e-6, loss: 2e-6 },
  projected: { logits: 0.1, loss: 0.02 },
};

function toleranceFor(name: string, activationBits: 16 | 8, headBits: number | 'grid') {
  if (activationBits === 16) return headBits === 16 ? tolerances[16] : tolerances.head;
  if (hasFloatProjections(name)) return tolerances.projected;
  return headBits === 16 ? tolerances[8] : tolerances.exact;
}

/** Every kind of model of the test fixtures, beside the CPU. */
export function describeGpuModels(isThere: boolean, folder: string, device: () => Device): void {
  describe.skipIf(!isThere)('every kind of model runs on the device as on the CPU', () => {
    test.each(models)('$name, $options', async ({ name, options }) => {
      const source = await openPackage(await packTinyModel(name, path.join(folder, name), options));
      const ids = Int32Array.from(idsOf(name)).subarray(0, 80);
      for (const activationBits of roundedToo.includes(name) ? ([16, 8] as const) : ([16] as const))
        await expectAsOnCpu(
          source,
          ids,
          activationBits,
          toleranceFor(name, activationBits, source.head.bits),
          device(),
        );
      source.close();
    });
  });

  describe.skipIf(!isThere)('rounded activations of rows of several blocks', () => {
    test('have one step a token or one a token and block, as the package says', async () => {
      const model = path.join(folder, 'wide');
      writeWideModel(model);
      const ids = Int32Array.from(idsOf('llama-odd-widths')).subarray(0, 80);
      const logits = new Map<string, Float32Array>();
      for (const activationScales of ['token', 'block'] as const) {
        const options = { levels: 5, transform: true, embeddingBits: 8, activationScales } as const;
        const source = await openPackage(
          await packTinyModel(model, path.join(folder, `wide-${activationScales}`), options),
        );
        expect(source.activationScales).toBe(activationScales);
        for (const activationBits of [8, 6, 4] as const) {
          const last = await expectAsOnCpu(source, ids, activationBits, tolerances.exact, device());
          logits.set(`${activationScales} ${activationBits}`, last);
        }
        source.close();
      }
      expect(logits.get('block 4')).not.toEqual(logits.get('token 4'));
    });
  });

  describe.skipIf(!isThere)('a cache of float16', () => {
    // Heads of odd and even sizes, more queries than keys, biases.
    test.each(['llama-odd-widths', 'qwen3', 'opt-relu'])(
      '%s: keys and values are rounded as on the CPU, and take half the memory',
      async (name) => {
        const source = await openPackage(
          await packTinyModel(name, path.join(folder, `half-${name}`), { levels: 16, embeddingBits: 8 }),
        );
        const ids = Int32Array.from(idsOf(name)).subarray(0, 80);
        const rounded = await expectAsOnCpu(source, ids, 8, tolerances.exact, device(), 'f16');
        const exact = await expectAsOnCpu(source, ids, 8, tolerances.exact, device());
        expect(rounded).not.toEqual(exact);
        await expectAsOnCpu(source, ids, 16, tolerances.head, device(), 'f16');
        const bytes = [];
        for (const keyValueCache of ['f32', 'f16'] as const) {
          const model = await createPackedTextModel(source, { threads: 1, device: device(), keyValueCache });
          expect(model.keyValueCache).toBe(keyValueCache === 'f16' ? 'f16' : undefined);
          bytes.push((await model.createSession()).cacheBytes);
          await model.close();
        }
        expect(bytes[1]! / bytes[0]!).toBe(1 / 2);
        source.close();
      },
    );

    test('a key or value beyond it is an error that says what to do', async () => {
      const model = path.join(folder, 'large');
      writeWideModel(model, 1e6);
      const packed = await packTinyModel(model, path.join(folder, 'large-packed'), { levels: 16 });
      for (const on of [undefined, device()])
        for (const activationBits of [16, 8] as const) {
          const options = { threads: 1, activationBits, ...(on && { device: on }) };
          const half = await createPackedTextModel(packed, { ...options, keyValueCache: 'f16' });
          await expect((await half.createSession()).feed(Int32Array.of(5, 6))).rejects.toMatchObject({
            code: 'invalid-input',
            message: expect.stringMatching(/65504.*use a float32 cache/),
          });
          await half.close();
          const full = await createPackedTextModel(packed, options);
          const logits = await (await full.createSession()).feed(Int32Array.of(5, 6));
          expect(logits.every(Number.isFinite)).toBe(true);
          await full.close();
        }
    });
  });
}

/** Losses of all `ids`, and logits after a long beginning in chunks and then tokens one by one; the device's last ones. */
async function expectAsOnCpu(
  source: PackageSource,
  ids: Int32Array,
  activationBits: ActivationBits,
  tolerance: { logits: number; loss: number },
  device: Device,
  keyValueCache: KeyValueCache = 'f32',
): Promise<Float32Array> {
  const options = { threads: 1, activationBits, keyValueCache };
  const cpu = await createPackedTextModel(source, options);
  const gpu = await createPackedTextModel(source, { ...options, device });
  const [cpuSession, gpuSession] = [await cpu.createSession(), await gpu.createSession()];
  const expected = await cpuSession.tokenLosses(ids);
  const losses = await gpuSession.tokenLosses(ids);
  expect(losses).toHaveLength(expected.length);
  expect(Math.abs(mean(losses) - mean(expected))).toBeLessThan(tolerance.loss);
  let last = new Float32Array();
  for (const [begin, end] of [
    [0, 66],
    [66, 67],
    [67, 68],
  ] as const) {
    const part = ids.subarray(begin, end);
    const logits = await cpuSession.feed(part);
    last = (await gpuSession.feed(part)).slice();
    expect(relativeError(last, logits)).toBeLessThanOrEqual(tolerance.logits);
  }
  await gpu.close();
  await cpu.close();
  return last;
}

/** `count` ids chosen greedily after a prompt, and the prompt's losses. */
export async function greedy(out: string, count: number, activationBits: 16 | 8, on: Device | undefined) {
  const model = await createPackedTextModel(out, { threads: 1, activationBits, device: on });
  const session = await model.createSession();
  const prompt = Int32Array.of(1, 403, 407, 261, 378, 31, 417, 277);
  const losses = await session.tokenLosses(prompt);
  const ids: number[] = [];
  let logits = await session.feed(prompt);
  while (ids.length < count) {
    const best = logits.indexOf(logits.reduce((most, value) => Math.max(most, value)));
    ids.push(best);
    logits = await session.feed(Int32Array.of(best));
  }
  await model.close();
  return { ids, losses };
}
