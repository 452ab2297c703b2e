import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import { openPackage } from '../../engine/package/open.ts';
import type { Device } from '../../engine/runtime/device.ts';
import { RuntimeVerification } from '../../engine/runtime/verification.ts';
import type { GpuContext } from '../../engine/runtime/webgpu/context.ts';
import { openGpuPackage } from '../../engine/runtime/webgpu/open-gpu-package.ts';
import { GpuVerification } from '../../engine/runtime/webgpu/verification.ts';
import { makePackage, windowsOf } from '../acceptance/agreement-packages.ts';
import { comparePerplexity, greedyIds } from '../acceptance/gpu-comparison.ts';
import { root } from '../acceptance/harness.ts';

export interface Correctness {
  recipe: string;
  /** Sums over blocks of 128 columns that are not the CPU's, of `integers`. None may be. */
  integersThatDiffer: number;
  integers: number;
  greedyIdsThatDiffer: number;
  greedyIds: number;
  /** |device / CPU − 1| at 16 and 8 activation bits. */
  perplexityDifference: { 16: number; 8: number };
  passed: boolean;
}

const model = path.join(root, 'resources', 'dbell-stories-7m');
const text = path.join(root, 'resources', 'dbell-stories', 'stories.train.sample.txt');
const tokens = 5;
const greedyTokens = 24;
/** Perplexity may differ by so much, whatever rounding does. */
const perplexityLimit = 0.002;

/** The bundled model, quantized on the spot, on the device beside the CPU. */
export async function checkCorrectness(
  context: GpuContext,
  device: Device,
  recipes: readonly string[],
  windows: number,
): Promise<Correctness[]> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-gpu-benchmark-'));
  try {
    const results: Correctness[] = [];
    for (const recipe of recipes) results.push(await checkRecipe(context, device, recipe, windows, folder));
    return results;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function checkRecipe(
  context: GpuContext,
  device: Device,
  recipe: string,
  windowCount: number,
  folder: string,
): Promise<Correctness> {
  const out = path.join(folder, recipe);
  const wanted = { path: '', separatorId: 0, context: 128 };
  await makePackage({
    ...{ modelPath: model, recipe, activationBits: 8, out, threads: os.availableParallelism() },
    calibration: (source) => windowsOf(source, text, { ...wanted, windows: 4 }),
  });
  const source = await openPackage(out);
  const sums = { integers: 0, integersThatDiffer: 0 };
  const cpu = new RuntimeVerification(source);
  const gpu = new GpuVerification(context, openGpuPackage(source));
  const random = new SeededRandom(5);
  for (const { name, inFeatures } of [...source.linears.values()].slice(0, 7)) {
    const values = Int8Array.from({ length: tokens * inFeatures }, () => (random.nextUint32() % 255) - 127);
    const expected = cpu.maskedSums(name, values);
    const got = await gpu.maskedSums(name, values);
    sums.integers += expected.length;
    for (const [index, value] of expected.entries()) if (got[index] !== value) sums.integersThatDiffer += 1;
  }
  cpu.close();
  const windows = await windowsOf(source.asModelSource(), text, { ...wanted, windows: windowCount, skip: 4 });
  source.close();
  const prompt = Int32Array.from(windows.ids.subarray(0, 12));
  const expected = await greedyIds(out, prompt, greedyTokens, 8);
  const got = await greedyIds(out, prompt, greedyTokens, 8, device);
  const differenceAt = async (bits: 16 | 8) =>
    Math.abs((await comparePerplexity(out, windows, bits, device)).relativeDifference);
  const perplexityDifference = { 16: await differenceAt(16), 8: await differenceAt(8) };
  const greedyIdsThatDiffer = expected.filter((id, index) => id !== got[index]).length;
  return {
    recipe,
    ...sums,
    greedyIdsThatDiffer,
    greedyIds: greedyTokens,
    perplexityDifference,
    passed:
      sums.integersThatDiffer === 0 &&
      greedyIdsThatDiffer === 0 &&
      perplexityDifference[16] < perplexityLimit &&
      perplexityDifference[8] < perplexityLimit,
  };
}
