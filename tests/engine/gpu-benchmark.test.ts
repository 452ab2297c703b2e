import { expect, test } from 'vitest';
import { modelShapes } from '../../engine/model/model-shapes.ts';
import { measureCopyBandwidth } from '../../engine/runtime/webgpu/copy-bandwidth.ts';
import { GpuModel } from '../../engine/runtime/webgpu/model.ts';
import { measureModel } from '../../scripts/gpu-benchmark/measure-model.ts';
import { measureBaseline } from '../../scripts/gpu-benchmark/onnxruntime-baseline.ts';
import { bytesPerToken, randomPackage } from '../../scripts/gpu-benchmark/random-package.ts';
import { measureWeightKernel } from '../../scripts/gpu-benchmark/weight-kernel.ts';
import { openTestContext, testAdapter } from './gpu-support.ts';

/** The parts of `npm run bench:gpu`, on sizes at which nothing is measured. */

const adapter = await testAdapter();
const shape = {
  ...modelShapes.tiny,
  hiddenSize: 128,
  intermediateSize: 160,
  vocabularySize: 64,
  blockCount: 1,
};
const lengths = { prefill: 5, firstToken: 3, decode: 2, repetitions: 1 };

test.each(['float32', 'MatMulNBits 4 bits'] as const)(
  'the %s graph of onnxruntime runs, as many blocks as the shape has',
  async (kind) => {
    const figures = await measureBaseline({ ...shape, blockCount: 3 }, kind, lengths, 'cpu');
    expect(figures).toMatchObject({ kind, provider: 'cpu' });
    expect(figures.decodeTokensPerSecond).toBeGreaterThan(0);
    expect(figures.prefillTokensPerSecond).toBeGreaterThan(0);
  },
);

test('random packages have the sizes of their bits', () => {
  const [one, two] = [
    randomPackage(modelShapes['tinyllama-1.1b'], 1),
    randomPackage(modelShapes['tinyllama-1.1b'], 2),
  ];
  const { blockCount, hiddenSize, intermediateSize } = modelShapes['tinyllama-1.1b'];
  const keySize = 256;
  const weights = blockCount * (2 * hiddenSize * (hiddenSize + keySize) + 3 * hiddenSize * intermediateSize);
  expect(bytesPerToken(two) - bytesPerToken(one)).toBe(weights / 8);
});

test.skipIf(adapter === null)(
  'a model of random weights is measured on the device, within its memory',
  async () => {
    const context = await openTestContext(adapter!);
    const source = randomPackage(shape, 2);
    const model = await GpuModel.load(context, source, { activationBits: 8, keyValueCache: 'f32' }, () => {});
    const { figures, session } = await measureModel(model, shape.vocabularySize, lengths);
    for (const speed of [
      figures.decodeTokensPerSecond,
      figures.prefillTokensPerSecond,
      figures.timeToFirstTokenMs,
    ])
      expect(speed).toBeGreaterThan(0);
    expect(session.cacheBytes).toBeGreaterThan(0);
    expect(context.memoryBytes.cache).toBe(0);
    expect(model.memoryBytes.weights).toBeGreaterThanOrEqual(bytesPerToken(source));
    expect(model.memoryBytes.weights).toBeLessThan(2 * bytesPerToken(source));
    model.close();
    expect(context.memoryBytes).toEqual({ weights: 0, cache: 0, scratch: 0 });
    context.close();
  },
);

test.skipIf(adapter === null)('kernel and copy are timed, and leave nothing', async () => {
  const context = await openTestContext(adapter!);
  const copy = await measureCopyBandwidth(context);
  expect(copy.bytesPerSecond).toBeGreaterThan(0);
  const { bytesPerSecond, copies } = await measureWeightKernel(context, 2048, 4096, 4);
  expect(bytesPerSecond).toBeGreaterThan(0);
  expect(copies).toBe(1);
  expect(context.memoryBytes).toEqual({ weights: 0, cache: 0, scratch: 0 });
  context.close();
});
