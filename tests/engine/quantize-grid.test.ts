import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createFloatEngine } from '../../engine/float/engine.ts';
import { openModel } from '../../engine/model/open.ts';
import { createPackageSink } from '../../engine/package/sink.ts';
import { verifyPackage } from '../../engine/package/verify.ts';
import { dequantize } from '../../engine/quantize/dequantize.ts';
import { estimateQuantization } from '../../engine/quantize/estimate.ts';
import { quantize } from '../../engine/quantize/pipeline.ts';
import type { QuantizationProgress } from '../../engine/quantize/progress.ts';
import type { ActivationBits } from '../../engine/quantize/recipe.ts';
import { resolveRecipe } from '../../engine/quantize/resolve-recipe.ts';
import {
  MemorySink,
  quantizeInMemory,
  randomWindows,
  temporaryFolder,
  tinyModelPath,
} from './quantize-support.ts';
import { writeWideModel } from './wide-model.ts';

let folder: ReturnType<typeof temporaryFolder>;
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => folder.remove());

describe('grid recipes', () => {
  it.each([
    ['llama-odd-widths', 'grid-3', 16, {}],
    ['llama-mlp-bias', 'grid-2', 8, { roundingAwareBits: '8' }],
    ['qwen3-attention-bias', 'grid-4', 6, { columnScale: 'none' }],
    ['opt-relu', 'grid-8', 8, {}],
    ['opt-relu', 'grid-8', 8, { roundingAwareBits: '8' }],
    ['opt-no-affine', 'grid-4', 16, { targets: 'shifted' }],
    ['opt-post-norm-projected', 'grid-16', 16, {}],
    ['llama-odd-widths', 'grid-4', 8, { columnScale: 'folded' }],
    ['llama-plain', 'grid-2', 16, { columnScale: 'folded', targets: 'own' }],
    ['opt-relu', 'grid-3', 16, { columnScale: 'folded' }],
    ['opt-gelu', 'grid-16', 16, { columnScale: 'folded' }],
    ['opt-post-norm-projected', 'grid-4', 4, { columnScale: 'folded' }],
    ['llama-odd-widths', 'grid-2+residual-10', 8, { roundingAwareBits: '8' }],
    ['opt-relu', 'grid-3+residual-2.5', 16, { columnScale: 'folded' }],
    ['qwen2', 'gptq-3', 8, { targets: 'residual', tokenWeights: 'true' }],
  ] as [string, string, ActivationBits, Record<string, string>][])(
    'a package of %s by %s at A%i with %o is as large as estimated and verifies against its source',
    async (name, recipeName, activationBits, set) => {
      const source = await openModel(tinyModelPath(name));
      const engine = await createFloatEngine(source, { threads: 1 });
      const { architecture } = source;
      const recipe = resolveRecipe(recipeName, set, activationBits, architecture.family);
      const outputDirectory = path.join(folder.path, 'out');
      const workDirectory = `${outputDirectory}.partial`;
      const { summary } = await quantize({
        source,
        engine,
        recipe,
        windows: randomWindows(architecture.vocabularySize, 3, 24),
        embeddingBits: 16,
        sink: createPackageSink({ workDirectory, outputDirectory }),
        workDirectory,
        seed: 0,
        threads: 1,
      });
      const estimate = estimateQuantization({
        architecture,
        recipe,
        embeddingBits: 16,
        windowCount: 3,
        context: 24,
        threads: 1,
      });
      expect(estimate.storedBitsPerWeight).toBe(summary.storedBitsPerWeight);
      const { problems } = await verifyPackage(outputDirectory, { against: source });
      expect(problems).toEqual([]);
      await engine.close();
      source.close();
    },
  );

  it.each([
    ['llama-odd-widths', 'grid-4', {}],
    ['opt-post-norm-projected', 'grid-2', {}],
    ['qwen2', 'grid-2', { targets: 'shifted' }],
    ['llama-plain', 'gptq-2', {}],
  ] as [string, string, Record<string, string>][])(
    'put as much scratch on disk for %s by %s with %o as estimated, and leave none',
    async (name, recipeName, set) => {
      const source = await openModel(tinyModelPath(name));
      const engine = await createFloatEngine(source, { threads: 1 });
      const { architecture } = source;
      const recipe = resolveRecipe(recipeName, set, 16, architecture.family);
      const checkpoint = path.join(folder.path, 'out.partial', 'checkpoint');
      let most = 0;
      let left = '';
      await quantize({
        source,
        engine,
        recipe,
        windows: randomWindows(architecture.vocabularySize, 3, 24),
        embeddingBits: 16,
        sink: new MemorySink(),
        workDirectory: path.join(folder.path, 'out.partial'),
        seed: 0,
        threads: 1,
        onProgress: ({ step }) => {
          const scratch = readdirSync(checkpoint).filter((file) => file.startsWith('scratch-'));
          const bytes = scratch.map((file) => statSync(path.join(checkpoint, file)).size);
          most = Math.max(
            most,
            bytes.reduce((sum, size) => sum + size, 0),
          );
          if (step === 'finish') left = scratch.join();
        },
      });
      const inputs = {
        architecture,
        recipe,
        embeddingBits: 16,
        windowCount: 3,
        context: 24,
        threads: 1,
      } as const;
      expect(estimateQuantization(inputs).diskBytes.stageStates).toBe(most);
      expect(left).toBe('');
      await engine.close();
      source.close();
    },
  );

  it('share one column scale among the linears of a stage and fold it into the norm in front', async () => {
    const { sink } = await quantizeInMemory(tinyModelPath('opt-relu'), {
      recipe: 'grid-4',
      windows: (source) => randomWindows(source.architecture.vocabularySize, 4, 24),
    });
    const source = await openModel(tinyModelPath('opt-relu'));
    for (const block of source.architecture.blocks) {
      const { linears, floatTensors } = sink.blocks.get(block.index)!;
      for (const stage of block.stages) {
        const stored = linears.filter(({ name }) => stage.linears.some((linear) => linear.name === name));
        const norm = stage.foldableNorm;
        if (!norm?.weight || !norm.bias) {
          for (const { columnScale } of stored) expect(columnScale).not.toBeNull();
          continue;
        }
        for (const { columnScale } of stored) expect(columnScale).toBeNull();
        const before = source.readFloat32(norm.weight);
        const scale = floatTensors.get(norm.weight)!.values.map((value, column) => value / before[column]!);
        expect(new Set(scale).size).toBeGreaterThan(scale.length / 2);
        const bias = source.readFloat32(norm.bias);
        for (const [column, value] of floatTensors.get(norm.bias)!.values.entries())
          expect(value).toBeCloseTo(bias[column]! * scale[column]!, 5);
      }
    }
    source.close();
  });

  it('give every linear of a stage a residual over the same columns, which brings it closer to its target', async () => {
    const run = (recipe: string) =>
      quantizeInMemory(tinyModelPath('qwen2'), {
        recipe,
        set: { targets: 'own' },
        windows: (source) => randomWindows(source.architecture.vocabularySize, 4, 24),
      });
    const plain = (await run('grid-2')).sink.blocks.get(0)!;
    const source = await openModel(tinyModelPath('qwen2'));
    const { linears, reports } = (await run('grid-2+residual-20')).sink.blocks.get(0)!;
    for (const stage of source.architecture.blocks[0]!.stages) {
      const residuals = stage.linears.map((linear) => {
        const stored = linears.find((each) => each.name === linear.name)!;
        if (stored.layout !== 'grid' || !stored.residual) throw new Error(`${linear.name} has no residual`);
        expect(stored.residual.codes.length).toBe(linear.outFeatures * stored.residual.columns.length);
        return [...stored.residual.columns];
      });
      expect(residuals[0]!.length).toBe(Math.round(0.2 * stage.linears[0]!.inFeatures));
      for (const columns of residuals) expect(columns).toEqual(residuals[0]);
    }
    const total = (list: typeof reports) => list.reduce((sum, report) => sum + report.relativeError, 0);
    expect(total(reports)).toBeLessThan(0.9 * total(plain.reports));
    source.close();
  });

  it('are those of unrounded activations at A8, and know of the rounding where they are told to and at A6', async () => {
    const weightsAt = async (activationBits: ActivationBits, set: Record<string, string> = {}) => {
      const { sink } = await quantizeInMemory(tinyModelPath('llama-odd-widths'), {
        recipe: 'grid-4',
        set,
        activationBits,
        windows: (source) => randomWindows(source.architecture.vocabularySize, 3, 24),
      });
      return [...sink.blocks.values()].map(({ linears, floatTensors }) => ({ linears, floatTensors }));
    };
    const unrounded = await weightsAt(16);
    expect(await weightsAt(8)).toEqual(unrounded);
    const aware = await weightsAt(8, { roundingAwareBits: '8' });
    expect(aware).not.toEqual(unrounded);
    expect(await weightsAt(6, { roundingAwareBits: '4' })).toEqual(unrounded);
    const at6 = await weightsAt(6);
    expect(at6).not.toEqual(unrounded);
    expect(at6).not.toEqual(aware);
  });

  it.each(['grid-4', 'gptq-4'])(
    '%s follows the scales of rounded activations, in o and what comes behind',
    async (recipe) => {
      const wide = path.join(folder.path, `wide-${recipe}`);
      writeWideModel(wide);
      const codesAt = async (set: Record<string, string>) => {
        const { sink } = await quantizeInMemory(wide, {
          recipe,
          set,
          activationBits: 4,
          windows: (source) => randomWindows(source.architecture.vocabularySize, 4, 32),
        });
        return new Map(
          sink.blocks.get(0)!.linears.map(({ name, codes }) => [name.split('.').at(-1)!, codes]),
        );
      };
      const byBlock = await codesAt({});
      const byToken = await codesAt({ activationScales: 'token' });
      for (const name of ['o_proj', 'gate_proj', 'down_proj'])
        expect(byBlock.get(name), name).not.toEqual(byToken.get(name));
      // Only a grid's c feels the rounding of the first stage's input: its price is part of the fit.
      if (recipe === 'grid-4') expect(byBlock.get('q_proj')).not.toEqual(byToken.get('q_proj'));
    },
  );

  it('take the price of steps by block into the closed form of c', async () => {
    const wide = path.join(folder.path, 'wide-scales');
    writeWideModel(wide);
    const { sink } = await quantizeInMemory(wide, {
      recipe: 'grid-4',
      activationBits: 6,
      windows: (source) => randomWindows(source.architecture.vocabularySize, 4, 32),
    });
    // c of each block is normalised by itself: blocks with steps of their own do not care about a common factor.
    const { columnScale } = sink.blocks.get(0)!.linears.find(({ name }) => name.endsWith('down_proj'))!;
    for (let begin = 0; begin < columnScale!.length; begin += 128) {
      const part = columnScale!.subarray(begin, begin + 128);
      const mean = part.reduce((sum, value) => sum + Math.log(value), 0) / part.length;
      expect(Math.exp(mean)).toBeCloseTo(1, 5);
    }
  });

  it('give the same codes whatever the number of threads', async () => {
    const results = [];
    for (const threads of [1, 2]) {
      const { sink } = await quantizeInMemory(tinyModelPath('qwen3'), {
        recipe: 'grid-3',
        threads,
        activationBits: 8,
        windows: (source) => randomWindows(source.architecture.vocabularySize, 3, 32),
      });
      results.push([...sink.blocks.values()].map(({ linears, floatTensors }) => ({ linears, floatTensors })));
    }
    expect(results[1]).toEqual(results[0]);
  });

  it('survive one token of calibration, and say so', async () => {
    const { sink } = await quantizeInMemory(tinyModelPath('opt-relu'), {
      recipe: 'grid-2',
      windows: (source) => randomWindows(source.architecture.vocabularySize, 1, 1),
    });
    for (const block of sink.blocks.values()) {
      for (const report of block.reports) {
        expect(report.notes.join()).toMatch(/only 1 calibration tokens/);
        expect(Number.isFinite(report.relativeError)).toBe(true);
        if (report.targetRelativeError !== undefined)
          expect(Number.isFinite(report.targetRelativeError)).toBe(true);
      }
      for (const linear of block.linears) {
        expect(dequantize(linear).every(Number.isFinite)).toBe(true);
        expect(linear.bias!.every(Number.isFinite)).toBe(true);
      }
    }
  });

  it('report histograms and channels as the linears get them, and all of the estimated work', async () => {
    const events: QuantizationProgress[] = [];
    await quantizeInMemory(tinyModelPath('llama-plain'), {
      recipe: 'grid-2',
      collectHistograms: true,
      windows: (source) => randomWindows(source.architecture.vocabularySize, 3, 16),
      onProgress: (event) => events.push(event),
    });
    expect(events.at(-1)!.fraction).toBeGreaterThan(0.999);
    const layers = events.filter((event) => event.step === 'quantize');
    for (const { histograms } of layers) {
      // Two levels a row and block; and what they stand for lies on both sides of zero.
      expect(histograms!.quantized.minimum).toBeLessThan(0);
      expect(histograms!.quantized.maximum).toBeGreaterThan(0);
      expect(histograms!.original).not.toEqual(histograms!.transformed);
    }
    for (const { channelMaxima } of layers.filter(({ stage }) => stage === 'attention-in'))
      expect(channelMaxima!.after).not.toEqual(channelMaxima!.before);
  });
});
