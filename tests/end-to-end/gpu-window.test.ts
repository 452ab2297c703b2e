import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openPackage } from '../../engine/package/open.ts';
import type { PackageSource } from '../../engine/package/types.ts';
import type { Device } from '../../engine/runtime/device.ts';
import { createPackedTextModel } from '../../engine/runtime/packed-text-model.ts';
import { gpuDevice } from '../../engine/runtime/webgpu/gpu-device.ts';
import { openGpuPackage } from '../../engine/runtime/webgpu/open-gpu-package.ts';
import type { GpuProvider } from '../../engine/runtime/webgpu/provider.ts';
import {
  sentPackage,
  WindowConnection,
  windowProvider,
} from '../../engine/runtime/webgpu/window/window-provider.ts';
import { makePackage, windowsOf } from '../../scripts/acceptance/agreement-packages.ts';
import { asset } from '../assets.ts';
import {
  type CheckWay,
  checkOptions,
  describeGpuLinears,
  type GpuCheck,
} from '../engine/gpu-linears-suite.ts';
import { describeGpuModels, greedy } from '../engine/gpu-models-suite.ts';
import { describeGpuTop } from '../engine/gpu-top-suite.ts';
import { packTinyModel } from '../engine/package-support.ts';
import { browserPath } from './browser.ts';
import { type GpuWindow, openGpuWindow } from './gpu-window-support.ts';

/** The desktop's way to a GPU in a real Chromium: the page of its hidden window, its host for `navigator.gpu`, and what speaks with it in a work process. */

const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-gpu-window-'));
const isThere = browserPath !== null;
let window: GpuWindow;
let provider: GpuProvider;
let device: Device;
let checks: WindowConnection;

beforeAll(async () => {
  if (!isThere) return;
  window = await openGpuWindow();
  provider = windowProvider(async () => window.device);
  checks = new WindowConnection(window.checks);
  device = (await gpuDevice(0, provider)).device;
});
afterAll(async () => {
  await window?.close();
  rmSync(folder, { recursive: true, force: true });
});

async function openCheck(way: CheckWay, source: PackageSource): Promise<GpuCheck> {
  const opened = openGpuPackage(source);
  const input = { package: sentPackage(opened), options: checkOptions[way] };
  const check = await checks.callAny('open-check', input, opened);
  const call =
    (name: keyof GpuCheck) =>
    (...given: unknown[]) =>
      checks.callAny('check', { check, call: name, given }, opened) as Promise<never>;
  return {
    maskedSums: call('maskedSums'),
    residualSums: call('residualSums'),
    linearForward: call('linearForward'),
    quantizeActivations: call('quantizeActivations'),
  };
}

describeGpuLinears(isThere, openCheck);
describeGpuModels(isThere, folder, () => device);
describeGpuTop(isThere, folder, () => device);

const stories = asset('models/stories260k/hf');
const text = asset('data/tinystories-sample/tinystories_sample.txt');

describe.skipIf(!isThere)('in Chromium', () => {
  test('the adapter is named, and known to compute on the processor', async () => {
    expect(await provider.describeAdapters()).toEqual([
      {
        name: expect.stringContaining('SwiftShader'),
        backend: 'vulkan',
        isSoftware: true,
        driver: expect.any(String),
        problem: null,
      },
    ]);
    expect(device.name).toContain('software adapter (vulkan)');
    await expect(gpuDevice(null, provider)).rejects.toMatchObject({
      code: 'gpu-unavailable',
      message: expect.stringContaining('no GPU found: gpu:0 is'),
    });
  });

  test.skipIf(stories === null || text === null).each(['grid-2', 'grid-3', 'dbellquant'])(
    'stories260k as %s: the same greedy ids as on the CPU',
    async (recipe) => {
      const out = path.join(folder, recipe);
      await makePackage({
        ...{ modelPath: stories!, recipe, activationBits: 8, embeddingBits: 16, out, threads: 1 },
        calibration: (source) =>
          windowsOf(source, text!, { separatorId: 1, context: 256, windows: 4, skip: 0, path: '' }),
      });
      for (const activationBits of [16, 8] as const) {
        const expected = await greedy(out, 16, activationBits, undefined);
        const got = await greedy(out, 16, activationBits, device);
        expect(got.ids).toEqual(expected.ids);
      }
    },
  );

  test('a device that is lost ends what waits for it, and the next one works', async () => {
    const packed = await packTinyModel('llama-plain', path.join(folder, 'lost'));
    const lost = { code: 'device-lost', message: expect.stringContaining('start again to go on') };
    const run = async () => {
      const model = await createPackedTextModel(packed, { threads: 1, device });
      await checks.callAny('lose-device', null);
      const session = await model.createSession();
      for (let step = 0; step < 4; step++) await session.feed(Int32Array.of(5, 6));
    };
    await expect(run()).rejects.toMatchObject(lost);
    const model = await createPackedTextModel(packed, { threads: 1, device });
    const session = await model.createSession();
    expect((await session.feed(Int32Array.of(5))).every(Number.isFinite)).toBe(true);
    await model.close();
  });

  test('a package whose file cannot be read is said', async () => {
    const packed = await packTinyModel('llama-plain', path.join(folder, 'unreadable'));
    const source = await openPackage(packed);
    const opened = openGpuPackage(source);
    source.close();
    await expect(provider.load(0, opened, { activationBits: 8, keyValueCache: 'f32' })).rejects.toMatchObject(
      {
        message: expect.stringMatching(/closed/),
      },
    );
  });

  test('nothing violates the policy of the page', () => {
    expect(window.problems).toEqual([]);
  });

  test('a window that goes takes nothing with it: what waits ends with an error', async () => {
    const packed = await packTinyModel('llama-plain', path.join(folder, 'gone'));
    const model = await createPackedTextModel(packed, { threads: 1, device });
    const session = await model.createSession();
    const waiting = session.feed(Int32Array.of(5, 6, 7));
    await window.page.close();
    await expect(waiting.then(() => session.feed(Int32Array.of(8)))).rejects.toMatchObject({
      code: 'device-lost',
      message: expect.stringContaining('the window that computes on the GPU has gone'),
    });
    await model.close();
  });
});
