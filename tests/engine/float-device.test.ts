import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { checkFloatDevice, createFloatEngine } from '../../engine/float/engine.ts';
import type { FloatEngine, StageState } from '../../engine/float/types.ts';
import { openModel } from '../../engine/model/open.ts';
import { createPackageSink } from '../../engine/package/sink.ts';
import { verifyPackage } from '../../engine/package/verify.ts';
import { quantize } from '../../engine/quantize/pipeline.ts';
import { resolveRecipe } from '../../engine/quantize/resolve-recipe.ts';
import { randomIds, relativeMaximumError, tinyModel } from './float-tiny-model.ts';
import { testAdapter } from './gpu-support.ts';
import { randomWindows, temporaryFolder, tinyModelPath } from './quantize-support.ts';

/** Where no Vulkan driver is found, onnxruntime's WebGPU provider has nothing to compute on. */
const adapter = await testAdapter();
const folder = temporaryFolder();
const engines: FloatEngine[] = [];
afterAll(async () => {
  for (const engine of engines) await engine.close();
  folder.remove();
});

test('a device that cannot be used is an error that says why and what to do', async () => {
  await expect(checkFloatDevice('cuda')).rejects.toMatchObject({
    code: 'gpu-unavailable',
    message: expect.stringMatching(
      /cuda provider cannot be used.*; without --float-device the processor computes$/s,
    ),
  });
  await checkFloatDevice('cpu');
});

test.skipIf(adapter === null)(
  'Gram matrices, cross products and outputs by WebGPU are those of the processor within 1e-3',
  async () => {
    const source = tinyModel({ hiddenSize: 136, headDimension: 32, intermediateSize: 300, biases: true });
    const { architecture } = source;
    const count = 37;
    const [block] = architecture.blocks;
    const results = [];
    for (const device of ['cpu', 'webgpu'] as const) {
      const engine = await createFloatEngine(source, { threads: 1, device });
      engines.push(engine);
      expect(engine.device).toBe(device);
      const runner = await engine.blockRunner(count);
      const weights = engine.loadBlock(0);
      const state: StageState = { hidden: engine.embed(randomIds(count, architecture.vocabularySize, 4)) };
      const products: Float64Array[] = [];
      for (const stage of block!.stages) {
        const size = stage.linears[0]!.inFeatures;
        const gram = engine.newGram(size);
        await runner.enterStage(0, stage.name, weights, state, { activationBits: 16, gram });
        const cross = engine.newCrossProduct(size, size);
        const input = state.stageInput!;
        await cross.add({ left: input, minus: null, right: input, tokenWeights: null }, 'a test');
        products.push(Float64Array.from(gram.matrix()), cross.product);
      }
      results.push({
        products,
        out: await runner.leaveBlock(0, weights, state, { activationBits: 16 }),
      });
    }
    const [cpu, gpu] = results;
    for (const [index, product] of cpu!.products.entries())
      expect(relativeMaximumError(gpu!.products[index]!, product)).toBeLessThan(1e-3);
    expect(relativeMaximumError(gpu!.out, cpu!.out)).toBeLessThan(1e-3);
  },
);

test.skipIf(adapter === null)(
  'a package that WebGPU calibrated says so and verifies, and the processor does not go on with what it began',
  async () => {
    const source = await openModel(tinyModelPath('llama-plain'));
    const { architecture } = source;
    const [byGpu, byProcessor] = await Promise.all(
      (['webgpu', 'cpu'] as const).map((device) => createFloatEngine(source, { threads: 1, device })),
    );
    engines.push(byGpu!, byProcessor!);
    const outputDirectory = path.join(folder.path, 'out');
    const workDirectory = `${outputDirectory}.partial`;
    const job = (engine: FloatEngine) => ({
      ...{ source, engine, workDirectory, outputDirectory, seed: 0, threads: 1 },
      recipe: resolveRecipe('grid-4', {}, 8, architecture.family),
      windows: randomWindows(architecture.vocabularySize, 2, 24),
      embeddingBits: 16 as const,
      sink: createPackageSink({ workDirectory, outputDirectory }),
    });
    let blocks = 0;
    const stopped = quantize({
      ...job(byGpu!),
      onProgress: ({ step }) => {
        if (step === 'write') blocks++;
      },
      control: { paused: () => false, stopRequested: () => blocks > 0 },
    });
    await expect(stopped).rejects.toMatchObject({ code: 'stopped' });
    await expect(quantize(job(byProcessor!))).rejects.toMatchObject({
      code: 'invalid-checkpoint',
      message: expect.stringContaining('webgpu'),
    });
    await quantize(job(byGpu!));
    const kept = (name: string) => readFileSync(path.join(outputDirectory, name), 'utf8');
    expect(JSON.parse(kept('quality.json')).calibration.computedBy).toBe('onnxruntime, webgpu');
    expect(kept('README.md')).toContain('| calibration computed by | onnxruntime, webgpu |');
    expect((await verifyPackage(outputDirectory, { against: source })).problems).toEqual([]);
    source.close();
  },
);
