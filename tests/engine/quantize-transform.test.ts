import { describe, expect, it } from 'vitest';
import { createFloatEngine } from '../../engine/float/engine.ts';
import type { BlockWeights, ColumnScales } from '../../engine/float/types.ts';
import { openModel } from '../../engine/model/open.ts';
import { isTransformed, stageWidth } from '../../engine/quantize/cost-model.ts';
import { weightHistogram } from '../../engine/quantize/histogram.ts';
import { ltdbDefaults } from '../../engine/quantize/recipes.ts';
import {
  applyTransform,
  columnMaximum,
  mergeScales,
  normaliseScale,
  trainStageTransform,
} from '../../engine/quantize/transform.ts';
import { randomNumbers } from './float-tiny-model.ts';
import { quantizeInMemory, randomWindows, tinyModelPath } from './quantize-support.ts';

const allModels = [
  'llama-plain',
  'llama-odd-widths',
  'llama-attention-bias',
  'qwen2',
  'qwen3',
  'opt-relu',
  'opt-no-affine',
  'opt-no-bias',
  'opt-post-norm-projected',
];

describe('merging', () => {
  it('keeps the value of largest magnitude with its sign, and asks no linear whose column is zero', () => {
    const scales = [Float32Array.of(0.5, -3, 1, 1, 2), Float32Array.of(-0.75, 2, 0.25, 1, Number.NaN)];
    const maxima = [Float32Array.of(1, 1, 0, 0, 1), Float32Array.of(1, 1, 1, 0, 1)];
    expect([...mergeScales(scales, maxima)]).toEqual([-0.75, -3, 0.25, 1, 2]);
  });

  it('normalises by a power of two, exactly, and lifts what crossed zero', () => {
    const next = randomNumbers(3);
    const original = Float32Array.from({ length: 64 }, () => 0.02 * next());
    const scale = Float32Array.from(original);
    expect(normaliseScale(scale)).toBe(0);
    const factor = scale[0]! / original[0]!;
    expect(Math.log2(factor) % 1).toBe(0);
    expect([...scale]).toEqual([...original].map((value) => value * factor));
    const mean = scale.reduce((sum, value) => sum + Math.log2(Math.abs(value)), 0) / scale.length;
    expect(Math.abs(mean)).toBeLessThanOrEqual(0.5);

    const crossed = Float32Array.of(1, 1, 1, 1, 1, 1, -1e-9, 1);
    expect(normaliseScale(crossed)).toBe(1);
    expect(crossed[6]).toBeLessThan(0);
    expect(crossed[6]).toBeGreaterThan(-1e-4);
  });

  it('finds column maxima', () => {
    expect([...columnMaximum(Float32Array.of(1, -2, 0, -3, 1, 0), 2, 3)]).toEqual([3, 2, 0]);
  });
});

describe('a transform', () => {
  it.each(allModels)('of any sign leaves the function of a block of %s unchanged', async (name) => {
    const source = await openModel(tinyModelPath(name));
    const engine = await createFloatEngine(source, { threads: 1 });
    const context = 12;
    const runner = await engine.blockRunner(context);
    const next = randomNumbers(11);
    for (const block of source.architecture.blocks) {
      const hidden = Float32Array.from(
        { length: context * source.architecture.hiddenSize },
        () => 2 * next(),
      );
      const weights: BlockWeights = engine.loadBlock(block.index);
      const before = await runner.forward(block.index, weights, hidden, { activationBits: 16 });
      const columnScales: ColumnScales = {};
      for (const stage of block.stages.filter(isTransformed)) {
        const scale = Float32Array.from({ length: stageWidth(stage) }, () => {
          const value = next();
          return (value < 0 ? -1 : 1) * 4 ** value;
        });
        const { columnScale, changedNorms } = applyTransform(stage, weights, scale);
        expect(columnScale === null).toBe(changedNorms.length > 0);
        if (columnScale) columnScales[stage.name] = columnScale;
      }
      const after = await runner.forward(block.index, weights, hidden, { activationBits: 16, columnScales });
      let error = 0;
      let norm = 0;
      for (const [index, value] of before.entries()) {
        error += (value - after[index]!) ** 2;
        norm += value ** 2;
      }
      expect(Math.sqrt(error / norm)).toBeLessThan(1e-5);
    }
    await engine.close();
    source.close();
  });

  it('is started from the joint weight maximum where the recipe says so', async () => {
    const source = await openModel(tinyModelPath('opt-relu'));
    const engine = await createFloatEngine(source, { threads: 1 });
    const [block] = source.architecture.blocks;
    const stage = block!.stages[0];
    const weights = engine.loadBlock(0);
    const next = randomNumbers(5);
    const absMax = Float32Array.from({ length: stageWidth(stage) }, () => 1 + Math.abs(next()));
    const settings = { ...ltdbDefaults, training: 'start', weightMaximum: 'joint' } as const;
    const { scale } = await trainStageTransform(stage, weights, absMax, settings, 128, async () => {});
    const maxima = stage.linears.map((linear) =>
      columnMaximum(weights.get(`${linear.name}.weight`)!, linear.outFeatures, linear.inFeatures),
    );
    // All linears of the stage start alike, so that merging changes nothing: T0 = max|X|^0.85 / max|W|^0.15, up to the power of two.
    const expected = Float32Array.from(absMax, (value, column) => {
      const weightMaximum = Math.max(...maxima.map((maximum) => maximum[column]!));
      return value ** 0.85 / weightMaximum ** 0.15;
    });
    normaliseScale(expected);
    for (const [column, value] of scale.entries()) expect(value).toBeCloseTo(expected[column]!, 5);
    await engine.close();
    source.close();
  });
});

describe('recipes with LTDB', () => {
  it.each(allModels)('quantize %s and fold T, or keep it as a column scale', async (name) => {
    for (const recipe of ['dbellquant', 'dbellquant-reference']) {
      const { sink } = await quantizeInMemory(tinyModelPath(name), {
        recipe,
        activationBits: 8,
        windows: (source) => randomWindows(source.architecture.vocabularySize, 3, 32),
      });
      const source = await openModel(tinyModelPath(name));
      for (const block of source.architecture.blocks) {
        const stored = sink.blocks.get(block.index)!;
        for (const stage of block.stages) {
          const norm = stage.foldableNorm;
          const folds = norm !== null && norm.weight !== null;
          for (const linear of stage.linears) {
            const quantized = stored.linears.find((each) => each.name === linear.name)!;
            expect(quantized.columnScale !== null).toBe(isTransformed(stage) && !folds);
          }
          if (isTransformed(stage) && folds) {
            const values = stored.floatTensors.get(norm.weight!)!.values;
            expect(values.every(Number.isFinite)).toBe(true);
            expect(values).not.toEqual(source.readFloat32(norm.weight!));
            expect(stored.floatTensors.has(norm.bias ?? '')).toBe(norm.bias !== null);
          }
        }
        for (const report of stored.reports) expect(report.relativeError).toBeLessThan(0.9);
      }
      source.close();
    }
  });
});

describe('weightHistogram', () => {
  it('counts every value once, constant and empty arrays too', () => {
    const { counts, minimum, maximum } = weightHistogram(Float32Array.of(-1, 0, 0, 1));
    expect([minimum, maximum, counts[0], counts.at(-1)]).toEqual([-1, 1, 1, 1]);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(4);
    expect(weightHistogram(Float32Array.of(2, 2)).counts[0]).toBe(2);
    expect(weightHistogram(new Float32Array(0)).counts.every((count) => count === 0)).toBe(true);
  });
});
