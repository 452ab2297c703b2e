import { describe, expect, it } from 'vitest';
import { createFloatEngine } from '../../engine/float/engine.ts';
import type { BlockWeights } from '../../engine/float/types.ts';
import { linearsOf } from '../../engine/model/architecture.ts';
import { openModel } from '../../engine/model/open.ts';
import { packing } from '../../engine/native/packing.ts';
import { dequantize } from '../../engine/quantize/dequantize.ts';
import {
  foldSource,
  isTied,
  relativeErrorUpToScale,
  scaleOfColumns,
  scaleOfRows,
  scaleRows,
} from '../../engine/quantize/folding.ts';
import type { GridLinear } from '../../engine/quantize/quantized-linear.ts';
import { randomNumbers, relativeMaximumError } from './float-tiny-model.ts';
import { quantizeInMemory, randomWindows, tinyModelPath } from './quantize-support.ts';

describe('a column scale folded into the rows in front', () => {
  it.each([
    ['llama-plain', 'attention-out', 'v', true],
    ['llama-plain', 'mlp-out', 'up', false],
    ['qwen2', 'attention-out', 'v', true],
    ['opt-relu', 'attention-out', 'v', false],
    ['opt-relu', 'mlp-out', 'up', false],
  ] as const)(
    'of %s, stage %s, leaves the block’s float output as it is',
    async (name, stageName, role, tied) => {
      const source = await openModel(tinyModelPath(name));
      const { architecture } = source;
      const engine = await createFloatEngine(source, { threads: 1 });
      const runner = await engine.blockRunner(20);
      const block = architecture.blocks[0]!;
      const stage = block.stages.find((each) => each.name === stageName)!;
      const fold = foldSource(architecture, block, stage)!;
      expect(fold.linear.role).toBe(role);
      expect(isTied(fold)).toBe(tied);
      const random = randomNumbers(3);
      const rowScale = Float32Array.from({ length: fold.linear.outFeatures }, () => 1.5 + random());
      const columnScale = scaleOfColumns(fold, rowScale);
      expect(relativeMaximumError(scaleOfRows(fold, columnScale), rowScale)).toBeLessThan(1e-6);

      const hidden = engine.embed(Int32Array.from({ length: 20 }, (_, index) => index));
      const weights = engine.loadBlock(0);
      const explicit = await runner.forward(0, weights, hidden, {
        activationBits: 16,
        columnScales: { [stageName]: columnScale },
      });
      const folded: BlockWeights = new Map(weights);
      const { inFeatures } = fold.linear;
      folded.set(
        `${fold.linear.name}.weight`,
        weights
          .get(`${fold.linear.name}.weight`)!
          .map((value, index) => value * rowScale[Math.floor(index / inFeatures)]!),
      );
      if (fold.linear.bias)
        folded.set(
          fold.linear.bias,
          weights.get(fold.linear.bias)!.map((value, row) => value * rowScale[row]!),
        );
      const result = await runner.forward(0, folded, hidden, { activationBits: 16 });
      expect(relativeMaximumError(result, explicit)).toBeLessThan(2e-6);
      const plain = await runner.forward(0, weights, hidden, { activationBits: 16 });
      expect(relativeMaximumError(plain, explicit)).toBeGreaterThan(1e-3);
      await engine.close();
      source.close();
    },
  );

  it('has nowhere to go behind norms, and behind activations other than ReLU', async () => {
    for (const [name, allowed] of [
      ['opt-gelu', ['attention-out']],
      ['llama-gelu', ['attention-out', 'mlp-out']],
    ] as const) {
      const source = await openModel(tinyModelPath(name));
      const { architecture } = source;
      const block = architecture.blocks[0]!;
      const stages = block.stages.filter((stage) => foldSource(architecture, block, stage) !== null);
      expect(stages.map((stage) => stage.name)).toEqual(allowed);
      source.close();
    }
  });

  it.each(['llama-plain', 'opt-relu', 'opt-gelu', 'opt-post-norm-projected'])(
    'leaves no multiplier in a package of %s, whose blocks give what the pipeline saw',
    async (name) => {
      const run = (columnScale: string) =>
        quantizeInMemory(tinyModelPath(name), {
          recipe: 'grid-4',
          set: { columnScale },
          windows: (source) => randomWindows(source.architecture.vocabularySize, 4, 24),
        });
      const { sink } = await run('folded');
      const source = await openModel(tinyModelPath(name));
      for (const block of source.architecture.blocks) {
        for (const linear of sink.blocks.get(block.index)!.linears) expect(linear.columnScale).toBeNull();
        const reports = sink.blocks.get(block.index)!.reports;
        expect(reports.map((report) => report.name)).toEqual(linearsOf(block).map((linear) => linear.name));
        for (const report of reports) {
          expect(report.relativeError).toBeLessThan(0.4);
          expect(report.weightRelativeError).toBeLessThan(1);
        }
      }
      source.close();
    },
  );

  it('scales stored values and bias, and cuts what fp16 cannot hold', () => {
    const halfs = (...values: number[]): Uint16Array =>
      packing.floatsToHalfs(Float32Array.from(values)).halfs;
    const linear: GridLinear = {
      layout: 'grid',
      name: 'v',
      outFeatures: 2,
      inFeatures: 2,
      bias: Float32Array.of(1, -1),
      columnScale: null,
      levels: 2,
      codes: Uint8Array.of(0, 1, 1, 0),
      scales: halfs(2, 60000),
      offsets: null,
      residual: { columns: Int32Array.of(1), levels: 2, codes: Uint8Array.of(1, 0), scales: halfs(1, 4) },
    };
    const before = dequantize(linear);
    expect(scaleRows(linear, Float32Array.of(0.25, 2))).toBe(1);
    const after = dequantize(linear);
    expect([...after.subarray(0, 2)]).toEqual([...before.subarray(0, 2)].map((value) => value / 4));
    expect(packing.halfsToFloats(linear.scales)[1]).toBe(65504);
    expect(packing.halfsToFloats(linear.residual!.scales)).toEqual(Float32Array.of(0.25, 8));
    expect(linear.bias).toEqual(Float32Array.of(0.25, -2));
  });
});

it('an error up to a scale is that of the best factor for each row or column', () => {
  const weight = Float32Array.of(1, 2, 3, 4);
  expect(relativeErrorUpToScale(weight, Float32Array.of(2, 4, 1, 1.5), 2, 'rows')).toBeLessThan(0.01);
  expect(relativeErrorUpToScale(weight, Float32Array.of(2, 1, 6, 2), 2, 'columns')).toBeCloseTo(0, 12);
  // Row 0: w·q / q·q = 1/2, error 0.5² · … ; a zero row explains nothing.
  expect(relativeErrorUpToScale(weight, Float32Array.of(1, 0, 0, 0), 2, 'rows')).toBeCloseTo(29 / 30, 12);
  expect(relativeErrorUpToScale(new Float32Array(2), new Float32Array(2), 2, 'rows')).toBe(0);
});
