import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../engine/runtime/device.ts';
import type { GpuContext } from '../../engine/runtime/webgpu/context.ts';
import { allRecipes, makePackage, windowsOf } from '../../scripts/acceptance/agreement-packages.ts';
import { asset, bundled } from '../assets.ts';
import { greedy, tolerances } from './gpu-models-suite.ts';
import { openTestContext, sharedDevice, testAdapter } from './gpu-support.ts';
import { mean } from './runtime-support.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-gpu-recipes-'));
const adapter = await testAdapter();
let context: GpuContext;
let device: Device;

beforeAll(async () => {
  if (adapter === null) return;
  context = await openTestContext(adapter, { smallestSubgroup: 4 });
  device = sharedDevice(context);
});
afterAll(() => {
  context?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Little text makes a poor model, and it is the same poor one on both sides. The texts are read in full by the acceptance. */
const models = [
  {
    name: 'stories260k',
    model: asset('models/stories260k/hf'),
    text: asset('data/tinystories-sample/tinystories_sample.txt'),
    generatedTokens: 16,
    calibration: { separatorId: 1, context: 256, windows: 4, skip: 0, path: '' },
  },
  {
    name: 'dbell-stories-7m',
    model: bundled.model,
    text: bundled.trainingText,
    generatedTokens: 8,
    calibration: { separatorId: 0, context: 128, windows: 2, skip: 0, path: '' },
  },
];

for (const { name, model, text, generatedTokens, calibration } of models)
  describe.skipIf(adapter === null || model === null || text === null)(name, () => {
    test.each(allRecipes)('%s: the same greedy ids and losses as the CPU', async (recipe) => {
      const out = path.join(folder, `${name}-${recipe}`);
      await makePackage({
        ...{ modelPath: model!, recipe, activationBits: 8, embeddingBits: 16, out, threads: 1 },
        calibration: (source) => windowsOf(source, text!, calibration),
      });
      for (const activationBits of [16, 8] as const) {
        const expected = await greedy(out, generatedTokens, activationBits, undefined);
        const got = await greedy(out, generatedTokens, activationBits, device);
        expect(got.ids).toEqual(expected.ids);
        const difference = Math.abs(mean(got.losses) - mean(expected.losses));
        expect(difference).toBeLessThan(tolerances[activationBits].loss);
      }
    });
  });
