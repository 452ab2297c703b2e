import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openPackage } from '../../engine/package/open.ts';
import type { Device } from '../../engine/runtime/device.ts';
import { createPackedTextModel } from '../../engine/runtime/packed-text-model.ts';
import type { GpuContext } from '../../engine/runtime/webgpu/context.ts';
import { makePackage, windowsOf } from '../../scripts/acceptance/agreement-packages.ts';
import { comparePerplexity } from '../../scripts/acceptance/gpu-comparison.ts';
import { asset } from '../assets.ts';
import { describeGpuModels } from './gpu-models-suite.ts';
import { openTestContext, sharedDevice, testAdapter } from './gpu-support.ts';
import { relativeError } from './runtime-support.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-gpu-'));
const adapter = await testAdapter();
let context: GpuContext;
let device: Device;

beforeAll(async () => {
  if (adapter === null) return;
  // Several chunks, and subgroups of the four threads that SwiftShader's have; the page of the end-to-end tests and the acceptance go without both.
  context = await openTestContext(adapter, { mostTokensPerChunk: 64, smallestSubgroup: 4 });
  device = sharedDevice(context);
});
afterAll(() => {
  context?.close();
  rmSync(folder, { recursive: true, force: true });
});

describeGpuModels(adapter !== null, folder, () => device);

const stories = asset('models/stories260k/hf');
const text = asset('data/tinystories-sample/tinystories_sample.txt');
const calibrationWindows = { separatorId: 1, context: 256, windows: 4, skip: 0, path: '' };
const recipes = ['grid-2', 'grid-3'] as const;

describe.skipIf(adapter === null || stories === null || text === null)('stories260k', () => {
  beforeAll(async () => {
    for (const recipe of recipes)
      await makePackage({
        ...{ modelPath: stories!, recipe, activationBits: 8, embeddingBits: 16 },
        ...{ out: path.join(folder, recipe), threads: 1 },
        calibration: (source) => windowsOf(source, text!, calibrationWindows),
      });
  });

  test.each([
    [recipes[0], 8, 8],
    [recipes[1], 16, 2],
  ] as const)(
    '%s at A%d: perplexity is within two thousandths of the CPU’s',
    async (recipe, activationBits, count) => {
      const out = path.join(folder, recipe);
      const source = await openPackage(out);
      const windows = await windowsOf(source.asModelSource(), text!, {
        ...calibrationWindows,
        windows: count,
        skip: 8,
      });
      source.close();
      const compared = await comparePerplexity(out, windows, activationBits, device);
      expect(Math.abs(compared.relativeDifference)).toBeLessThan(0.002);
    },
  );

  // At 16 bits the last bits of a key differ, and rounded to float16 it may fall to the neighbour.
  test.each([
    ['f32', 16],
    ['f16', 8],
  ] as const)(
    'window logits in pieces, a cache of %s that grows, and a second session: A%d',
    async (keyValueCache, activationBits) => {
      const out = path.join(folder, recipes[0]);
      const ids = Int32Array.from({ length: 300 }, (_, index) => 3 + ((index * 41) % 500));
      const gpu = await createPackedTextModel(out, { threads: 1, activationBits, keyValueCache, device });
      const cpu = await createPackedTextModel(out, { threads: 1, activationBits, keyValueCache });
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
    },
  );
});
