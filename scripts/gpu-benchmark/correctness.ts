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
  /** At 16 activation bits; none may. */
  greedyIdsThatDiffer: number;
  /** At 8 bits, where a value on the border of two codes may fall to the other side: told only. */
  greedyIdsThatDifferAt8: number;
  greedyIds: number;
  /** |device / CPU − 1| at 16 and 8 activation bits. */
  perplexityDifference: { 16: number; 8: number };
  /** Scored for them. Below `tokensToJudge` that at 8 bits is told only. */
  tokens: number;
  passed: boolean;
}

const model = path.join(root, 'resources', 'dbell-stories-7m');
const text = path.join(root, 'resources', 'dbell-stories', 'stories.train.sample.txt');
const tokens = 5;
const greedyTokens = 24;
/** Over fewer tokens single flips of rounding weigh too much. */
const tokensToJudge = 2000;
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
  const idsThatDiffer = async (bits: 16 | 8) => {
    const expected = await greedyIds(out, prompt, greedyTokens, bits);
    const got = await greedyIds(out, prompt, greedyTokens, bits, device);
    return expected.filter((id, index) => id !== got[index]).length;
  };
  const greedyIdsThatDiffer = await idsThatDiffer(16);
  const greedyIdsThatDifferAt8 = await idsThatDiffer(8);
  const at16 = await comparePerplexity(out, windows, 16, device);
  const at8 = await comparePerplexity(out, windows, 8, device);
  const perplexityDifference = {
    16: Math.abs(at16.relativeDifference),
    8: Math.abs(at8.relativeDifference),
  };
  return {
    recipe,
    ...sums,
    greedyIdsThatDiffer,
    greedyIdsThatDifferAt8,
    greedyIds: greedyTokens,
    perplexityDifference,
    tokens: at8.tokens,
    passed:
      sums.integersThatDiffer === 0 &&
      greedyIdsThatDiffer === 0 &&
      perplexityDifference[16] < perplexityLimit &&
      (at8.tokens < tokensToJudge || perplexityDifference[8] < perplexityLimit),
  };
}
