import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { dequantize } from '../../engine/quantize/dequantize.ts';
import { copyTinyModel, editTensors, float32Tensor, type RawTensor } from './model-fixtures.ts';
import { quantizeInMemory, randomWindows, temporaryFolder } from './quantize-support.ts';

const recipes = [
  'dbellquant',
  'dbellquant-reference',
  'billm',
  'billm-reference',
  'gptq-1',
  'gptq-3',
  'rtn-1',
  'grid-2',
  'grid-3',
  'grid-16',
];

let folder: ReturnType<typeof temporaryFolder>;
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => folder.remove());

function edited(edit: (name: string, shape: number[], values: Float32Array) => void): string {
  const model = copyTinyModel('llama-plain', path.join(folder.path, 'model'));
  editTensors(model, (tensors) => {
    for (const [name, tensor] of tensors) {
      const values = valuesOf(tensor);
      edit(name, tensor.shape, values);
      tensors.set(name, float32Tensor(tensor.shape, values));
    }
  });
  return model;
}

function valuesOf({ bytes }: RawTensor): Float32Array {
  return new Float32Array(Uint8Array.from(bytes).buffer);
}

async function quantized(model: string, recipe: string) {
  const { sink } = await quantizeInMemory(model, {
    recipe,
    activationBits: 8,
    windows: (source) => randomWindows(source.architecture.vocabularySize, 4, 32),
  });
  for (const block of sink.blocks.values()) {
    for (const { values } of block.floatTensors.values()) expect(values.every(Number.isFinite)).toBe(true);
    for (const linear of block.linears) expect(dequantize(linear).every(Number.isFinite)).toBe(true);
    for (const report of block.reports) {
      expect(Number.isFinite(report.relativeError)).toBe(true);
      expect(Number.isFinite(report.weightRelativeError)).toBe(true);
    }
  }
  const named = (part: string) => {
    const block = sink.blocks.get(0)!;
    const linear = block.linears.find((each) => each.name.includes(part))!;
    return { linear, report: block.reports.find((each) => each.name === linear.name)!, block };
  };
  return { sink, named };
}

describe.each(recipes)('%s', (recipe) => {
  it('an enormous but finite weight: quantizes, or names the linear that cannot be', async () => {
    const model = edited((name, _shape, values) => {
      if (name.includes('mlp.down_proj')) values[7] = 1e30;
    });
    const run = quantized(model, recipe);
    if (recipe.startsWith('grid'))
      await expect(run).rejects.toMatchObject({
        code: 'invalid-model',
        message: expect.stringMatching(
          /^model\.layers\.0\.mlp\.down_proj: what its grid is fitted to is \S+ at row \d+ of 32, column \d+; .* so these weights cannot be used$/,
        ),
      });
    else await run;
  });

  it('survives dead channels of a norm and zero columns of weights', async () => {
    const model = edited((name, [, columns], values) => {
      if (name === 'model.layers.0.input_layernorm.weight') values[3] = values[7] = 0;
      if (columns && /layers\.0.*[qkv]_proj/.test(name)) {
        for (let index = 5; index < values.length; index += columns) values[index] = 0;
      }
      // Zero in one of the linears of a stage only.
      if (columns && name.includes('layers.0.mlp.up_proj')) {
        for (let index = 2; index < values.length; index += columns) values[index] = 0;
      }
    });
    const { named } = await quantized(model, recipe);
    const { report, block } = named('q_proj');
    if (recipe !== 'rtn-1') {
      expect(report.notes.join()).toMatch(/2 of 32 input columns were zero in all calibration tokens/);
    }
    const norm = block.floatTensors.get('model.layers.0.input_layernorm.weight');
    if (norm) expect([Math.abs(norm.values[3]!), Math.abs(norm.values[7]!)]).toEqual([0, 0]);
    expect(report.relativeError).toBeLessThan(1);
  });

  it('survives a linear that is all zero, and the layer behind it that never sees anything else', async () => {
    const model = edited((name, _shape, values) => {
      if (name === 'model.layers.0.mlp.up_proj.weight') values.fill(0);
    });
    const { named } = await quantized(model, recipe);
    expect(dequantize(named('up_proj').linear).every((value) => value === 0)).toBe(true);
    expect(named('up_proj').report.relativeError).toBe(0);
    if (recipe !== 'rtn-1') {
      expect(named('down_proj').report.notes.join()).toMatch(/48 of 48 input columns were zero/);
    }
  });

  it('survives constant, subnormal and outlying rows', async () => {
    const model = edited((name, [, columns], values) => {
      if (!columns || !name.includes('layers.0.mlp.gate_proj')) return;
      const row = (index: number): Float32Array => values.subarray(index * columns, (index + 1) * columns);
      row(0).fill(5);
      row(1).fill(-5);
      row(2).fill(1e-7);
      row(3).fill(1e-39);
      row(4).fill(1e-6)[9] = 1e3;
      row(5).fill(-0);
    });
    await quantized(model, recipe);
  });
});
