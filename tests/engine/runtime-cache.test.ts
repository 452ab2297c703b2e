import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { KeyValueCache } from '../../engine/contract/common.ts';
import type { ActivationBits } from '../../engine/runtime/device.ts';
import { createPackedTextModel } from '../../engine/runtime/packed-text-model.ts';
import { availableKernels } from '../../engine/runtime/verification.ts';
import { bundled } from '../assets.ts';
import { packTinyModel } from './package-support.ts';
import { relativeError } from './runtime-support.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-cache-'));
const packed = path.join(folder, 'packed');
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeAll(async () => {
  await packTinyModel(bundled.model, packed, { levels: 16 });
}, 60_000);
afterEach(() => {
  delete process.env.DBELL_FORCE_ISA;
});

const ids = Int32Array.from({ length: 300 }, (_, index) => (index * 7919) % 4000);

interface Setting {
  keyValueCache?: KeyValueCache;
  activationBits?: ActivationBits;
  threads?: number;
  kernels?: string;
}

/** Logits after the last of the ids, fed in pieces; and what the cache takes. */
async function run({ kernels, threads = 2, ...options }: Setting, pieces: number[]) {
  if (kernels !== undefined) process.env.DBELL_FORCE_ISA = kernels;
  const model = await createPackedTextModel(packed, { threads, ...options });
  const session = await model.createSession();
  let logits = new Float32Array();
  for (let begin = 0, piece = 0; begin < ids.length; piece++) {
    const end = Math.min(ids.length, begin + pieces[piece % pieces.length]!);
    logits = (await session.feed(ids.subarray(begin, end))).slice();
    begin = end;
  }
  const { cacheBytes } = session;
  const used = model.keyValueCache;
  session.close();
  await model.close();
  return { logits, cacheBytes, used };
}

describe.each(['f16', 'int8'] as const)('a cache of %s', (keyValueCache) => {
  test.each([16, 8] as const)(
    'gives the same bits in pieces and at once, on any number of threads: A%d',
    async (activationBits) => {
      for (const kernels of availableKernels().filter((name) => name !== 'generic')) {
        const setting = { keyValueCache, activationBits, kernels };
        const { logits } = await run(setting, [300]);
        expect((await run(setting, [3, 130, 1, 17])).logits).toEqual(logits);
        expect((await run({ ...setting, threads: 1 }, [300])).logits).toEqual(logits);
      }
    },
    60_000,
  );

  test('gives the same bits with every instruction set where activations are integers', async () => {
    const all = [];
    for (const kernels of availableKernels().filter((name) => name !== 'generic'))
      all.push((await run({ keyValueCache, activationBits: 8, kernels }, [300])).logits);
    for (const other of all) expect(other).toEqual(all[0]);
  });

  test('is told, takes its share of the memory, and stays near float32', async () => {
    const exact = await run({ activationBits: 16 }, [300]);
    const stored = await run({ activationBits: 16, keyValueCache }, [300]);
    expect(exact.used).toBeUndefined();
    expect(stored.used).toBe(keyValueCache);
    // Heads have 64 dimensions; int8 adds a float32 step to each.
    expect(stored.cacheBytes / exact.cacheBytes).toBe(keyValueCache === 'f16' ? 1 / 2 : (64 + 4) / 256);
    const error = relativeError(stored.logits, exact.logits);
    expect(error).toBeGreaterThan(0);
    expect(error).toBeLessThan(keyValueCache === 'f16' ? 1e-3 : 1e-2);
    console.log(`cache of ${keyValueCache}: logits differ by ${error}`);
  });
});
