import os from 'node:os';
import path from 'node:path';
import { openPackage } from '../../../engine/package/open.ts';
import { createPackedTextModel } from '../../../engine/runtime/packed-text-model.ts';
import { gpuDevice } from '../../../engine/runtime/webgpu/gpu-device.ts';
import { collectGarbage } from '../../collect-garbage.ts';
import { type AgreementModel, agreementModels, windowsOf } from '../agreement-packages.ts';
import { assets } from '../command.ts';
import { comparePerplexity, greedyIds } from '../gpu-comparison.ts';
import { atMost, type Figure, type Item } from '../harness.ts';
import { softwareAdapter } from '../software-adapter.ts';
import { packageOf } from './agreement.ts';

/** What was asked of WebGPU beside the CPU. */
const gpuLimits = { perplexityDifference: 0.002, beyondWeightsAndCacheBytes: 128 * 2 ** 20 } as const;

/**
 * Models, the windows that their perplexity takes on an adapter that computes on the processor, and tokens chosen greedily. A window of 512 tokens takes SwiftShader about a
 * minute; at 8 activation bits every token's logits have the CPU's bits anyway.
 */
const compared: Readonly<Record<string, { windows: number; greedyTokens: number }>> = {
  'stories260k-hf': { windows: 4, greedyTokens: 48 },
  'dbell-stories-7m': { windows: 1, greedyTokens: 24 },
};
const promptTokens = 12;

/** Loads and closings, each with an adapter opened anew; after the first ones the process has what it keeps. */
const cycles = { count: 200, settled: 40, rssGrowthBytes: 96 * 2 ** 20 } as const;

const models = agreementModels.filter(({ id }) => id in compared);

export const gpuItems: Item[] = [
  ...models.flatMap((model) =>
    model.recipes.map((recipe) => ({
      id: `gpu/${model.id}/${recipe}`,
      title: `WebGPU against the CPU: ${model.id}, ${recipe}; greedy ids, perplexity, device memory`,
      run: ({ scratch, log }: Parameters<Item['run']>[0]) => compareOnGpu(model, recipe, scratch, log),
    })),
  ),
  {
    id: 'gpu/cycles',
    title: `WebGPU: ${cycles.count} times a package is loaded and closed`,
    run: ({ scratch, log }) => loadAgainAndAgain(models[0]!, scratch, log),
  },
];

async function compareOnGpu(
  model: AgreementModel,
  recipe: string,
  scratch: string,
  log: (message: string) => void,
): Promise<Figure[]> {
  const { device } = await gpuDevice(await softwareAdapter());
  const figures: Figure[] = [{ name: 'adapter', measured: device.name }];
  const { windows: count, greedyTokens } = compared[model.id]!;
  for (const activationBits of [16, 8] as const) {
    const madeFor = model.recipesByActivationBits.includes(recipe) ? activationBits : 16;
    const out = await packageOf(model, recipe, madeFor, scratch, os.availableParallelism(), log);
    const source = await openPackage(out);
    const { evaluation } = model;
    const windows = await windowsOf(source.asModelSource(), path.join(assets, evaluation.path), {
      ...evaluation,
      windows: count,
    });
    const { modelBytes } = source;
    source.close();
    const prompt = Int32Array.from(windows.ids.subarray(0, promptTokens));
    log(`greedy ids at A${activationBits}`);
    const onCpu = await greedyIds(out, prompt, greedyTokens, activationBits);
    const onDevice = await greedyIds(out, prompt, greedyTokens, activationBits, device);
    figures.push(
      atMost(
        `greedy ids that differ at A${activationBits}, of ${greedyTokens}`,
        onCpu.filter((id, index) => id !== onDevice[index]).length,
        0,
      ),
    );
    log(`perplexity at A${activationBits}`);
    const { cpu, relativeDifference, tokens } = await comparePerplexity(out, windows, activationBits, device);
    figures.push(
      { name: `perplexity on the CPU at A${activationBits} (${tokens} tokens)`, measured: cpu },
      atMost(
        `perplexity at A${activationBits}: relative difference`,
        Math.abs(relativeDifference),
        gpuLimits.perplexityDifference,
      ),
    );
    const loaded = await createPackedTextModel(out, { threads: 0, activationBits, device });
    await loaded.createSession();
    const { cache, ...others } = loaded.memoryBytes;
    const held = Object.values(others).reduce((sum, value) => sum + value, 0);
    await loaded.close();
    figures.push(
      { name: `cache at A${activationBits}, bytes`, measured: cache ?? 0 },
      atMost(
        `device memory beyond packed weights and cache at A${activationBits}, bytes`,
        Math.max(0, held - modelBytes),
        gpuLimits.beyondWeightsAndCacheBytes,
      ),
    );
  }
  return figures;
}

/** What JavaScript has not collected yet is no leak; Dawn's own objects go some turns of the event loop after the ones that held them. */
async function settle(): Promise<void> {
  for (let round = 0; round < 5; round++) {
    collectGarbage();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function loadAgainAndAgain(
  model: AgreementModel,
  scratch: string,
  log: (message: string) => void,
): Promise<Figure[]> {
  const { device } = await gpuDevice(await softwareAdapter());
  const out = await packageOf(model, 'grid-2', 16, scratch, os.availableParallelism(), log);
  let settledBytes = 0;
  for (let cycle = 0; cycle < cycles.count; cycle++) {
    if (cycle % 20 === 0) await settle();
    if (cycle === cycles.settled) settledBytes = process.memoryUsage.rss();
    const loaded = await createPackedTextModel(out, { threads: 0, device });
    const session = await loaded.createSession({ contextLength: 32 });
    await session.feed(Int32Array.of(1, 2, 3));
    await loaded.close();
    if (cycle % 20 === 0) log(`cycle ${cycle}: ${process.memoryUsage.rss()} bytes resident`);
  }
  await settle();
  return [
    atMost(
      `resident bytes after cycle ${cycles.count} beyond those after cycle ${cycles.settled}`,
      Math.max(0, process.memoryUsage.rss() - settledBytes),
      cycles.rssGrowthBytes,
    ),
  ];
}
