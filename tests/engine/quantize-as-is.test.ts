import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { createFloatEngine } from '../../engine/float/engine.ts';
import { createFloatTextModel } from '../../engine/float/text-model.ts';
import { type Linear, linearsOf } from '../../engine/model/architecture.ts';
import { openModel } from '../../engine/model/open.ts';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import type { LowBitWeight, ModelSource } from '../../engine/model/source.ts';
import { openPackage } from '../../engine/package/open.ts';
import { createPackageSink } from '../../engine/package/sink.ts';
import { gridOf } from '../../engine/quantize/as-is.ts';
import { dequantize } from '../../engine/quantize/dequantize.ts';
import { quantize } from '../../engine/quantize/pipeline.ts';
import { checkBeforeStart } from '../../engine/quantize/preflight.ts';
import { resolveRecipe } from '../../engine/quantize/resolve-recipe.ts';
import { createPackedTextModel } from '../../engine/runtime/packed-text-model.ts';
import { copyTinyModel, editTensors, float32Tensor } from './model-fixtures.ts';
import { type LowBitTypeName, lowBitGguf, lowBitTypes } from './model-low-bit-support.ts';
import { relativeError } from './runtime-support.ts';

const tiny = path.resolve(import.meta.dirname, '../fixtures/model/tiny');
const root = mkdtempSync(path.join(tmpdir(), 'dbell-as-is-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** Packs a model by `as-is` and returns the package's folder. */
async function keep(model: string, name: string): Promise<string> {
  const source = await openModel(model);
  const recipe = resolveRecipe('as-is', {}, undefined, source.architecture.family);
  const engine = await createFloatEngine(source, { threads: 1 });
  const out = path.join(root, name);
  try {
    await quantize({
      source,
      windows: null,
      recipe,
      embeddingBits: 16,
      engine,
      sink: createPackageSink({ workDirectory: `${out}.partial`, outputDirectory: out }),
      workDirectory: `${out}.partial`,
      seed: 0,
      threads: 1,
    });
  } finally {
    await engine.close();
    source.close();
  }
  expect(existsSync(`${out}.partial`)).toBe(false);
  return out;
}

/** Every weight of every linear, exactly. */
async function expectSame(model: string, out: string): Promise<void> {
  const source = await openModel(model);
  const opened = await openPackage(out);
  const packed: ModelSource = opened.asModelSource();
  for (const linear of source.architecture.blocks.flatMap(linearsOf)) {
    const name = `${linear.name}.weight`;
    const expected = source.readFloat32(name);
    const actual = packed.readFloat32(name);
    let differing = 0;
    for (let i = 0; i < expected.length; i++) if (actual[i] !== expected[i]) differing++;
    expect(`${name}: ${differing}`).toBe(`${name}: 0`);
    expect(expected.some((value) => value !== 0)).toBe(true);
  }
  opened.close();
  source.close();
}

describe.each(Object.keys(lowBitTypes) as LowBitTypeName[])('a GGUF of %s', (type) => {
  test('is kept exactly, or refused for its groups of 64', async () => {
    const file = path.join(root, `${type}.gguf`);
    writeFileSync(file, lowBitGguf(type, new SeededRandom(11)));
    if (type === 'Q2_0') {
      await expect(keep(file, type)).rejects.toThrow(
        /^model.layers.0.self_attn.q_proj: row \d+ has the scales \S+ and \S+ in neighbouring groups of 64 columns; the packed format has one scale for 128 columns/,
      );
      // As in the models that were trained with groups of 128: both halves have the same scale.
      const equal = lowBitGguf(type, new SeededRandom(11), (tensors) => {
        for (const tensor of tensors.filter(({ type }) => type === 42))
          for (let at = 0; at < tensor.bytes.length; at += 36) tensor.bytes.copyWithin(at + 18, at, at + 2);
      });
      writeFileSync(file, equal);
    }
    const out = await keep(file, `${type}-kept`);
    await expectSame(file, out);
    const opened = await openPackage(out);
    const stored = await openModel(file);
    for (const [name, linear] of opened.linears) {
      if (linear.layout !== 'grid') throw new Error('as-is makes grids');
      expect([linear.levels, linear.offsets, linear.rowScale, linear.columnScale]).toEqual([
        type === 'Q1_0' ? 2 : 3,
        null,
        null,
        null,
      ]);
      expect(opened.readLinear(name).codes).toEqual(stored.lowBitWeight!(`${name}.weight`)!.codes);
    }
    stored.close();
    opened.close();
  });
});

test('a fourth level is kept with an offset', async () => {
  const file = path.join(root, 'four.gguf');
  writeFileSync(
    file,
    lowBitGguf('Q2_0_G128', new SeededRandom(11), () => {}, { allCodes: true }),
  );
  const out = await keep(file, 'four');
  await expectSame(file, out);
  const opened = await openPackage(out);
  expect(
    [...opened.linears.values()].every((linear) => linear.layout === 'grid' && linear.levels === 4),
  ).toBe(true);
  opened.close();
});

test('a BitNet folder whose scales fp16 cannot hold is kept exactly, by row scales', async () => {
  const model = path.join(tiny, 'llama-bitnet');
  const out = await keep(model, 'bitnet');
  await expectSame(model, out);
  const opened = await openPackage(out);
  const q = opened.readLinear('model.layers.0.self_attn.q_proj');
  expect(q.layout === 'grid' && q.rowScale !== undefined && q.levels === 3).toBe(true);
  expect(opened.quality.layers.every((layer) => layer.relativeError === 0)).toBe(true);
  expect(opened.quantization.activation_bits).toBe(8);
  opened.close();
});

test.each(['llama-bitnet', 'bitnet', 'bitnet-unpacked', 'bitnet-online'])(
  '%s, kept, has its weights and computes what transformers computes, activations rounded or not',
  async (name) => {
    const expected = JSON.parse(readFileSync(path.join(tiny, name, 'expected.json'), 'utf8')) as {
      ids: number[];
      positions: number[];
      logits: number[][];
      quantizedLogits: number[][];
    };
    const out = await keep(path.join(tiny, name), `${name}-logits`);
    await expectSame(path.join(tiny, name), out);
    const opened = await openPackage(out);
    const source = await openModel(path.join(tiny, name));
    for (const [activationBits, logits, tolerance, packedTolerance] of [
      // A package's embedding is fp16; with rounded activations its values fall on the other side of a border here and there, which is felt in so small a model.
      [16, expected.logits, 1e-5, 1e-3],
      [8, expected.quantizedLogits, 2e-4, 0.1],
    ] as const) {
      const float = await createFloatTextModel(source, { threads: 1, activationBits });
      const packed = await createPackedTextModel(opened, { threads: 1, activationBits });
      for (const [model, limit] of [
        [float, tolerance],
        [packed, packedTolerance],
      ] as const) {
        const session = await model.createSession();
        for (const [index, position] of expected.positions.entries()) {
          session.reset();
          const found = await session.feed(Int32Array.from(expected.ids.slice(0, position + 1)));
          expect(relativeError(found, logits[index]!)).toBeLessThan(limit);
        }
        await model.close();
      }
    }
    source.close();
    opened.close();
  },
);

test('a float folder that turns out to be ternary is kept exactly; one that does not is refused beforehand', async () => {
  const folder = copyTinyModel('llama-plain', path.join(root, 'float-ternary'));
  const random = new SeededRandom(2);
  editTensors(folder, (tensors) => {
    for (const [name, { shape }] of tensors) {
      if (!name.endsWith('_proj.weight')) continue;
      const scale = Math.fround(0.1 + (random.nextUint32() % 1000) / 1777);
      tensors.set(
        name,
        float32Tensor(
          shape,
          Float32Array.from({ length: shape[0]! * shape[1]! }, () => ((random.nextUint32() % 3) - 1) * scale),
        ),
      );
    }
  });
  const out = await keep(folder, 'float-kept');
  await expectSame(folder, out);
  const plain = path.join(tiny, 'llama-plain');
  await expect(keep(plain, 'plain')).rejects.toThrow(
    "model.layers.0.self_attn.q_proj: the weights have more than three levels in a row's 128 columns; as-is keeps natively binary and ternary models only; use a grid recipe instead",
  );
  expect(existsSync(path.join(root, 'plain.partial'))).toBe(false);
  // One weight in a row that the check beforehand does not look at.
  editTensors(folder, (tensors) => {
    const name = 'model.layers.1.mlp.up_proj.weight';
    const values = new Float32Array(Uint8Array.from(tensors.get(name)!.bytes).buffer);
    values[40 * 32 + 3] = 0.77;
    tensors.set(name, float32Tensor([48, 32], values));
  });
  await expect(keep(folder, 'late')).rejects.toThrow(
    'model.layers.1.mlp.up_proj: the weights have more than',
  );
});

test('the size is known beforehand', async () => {
  const file = path.join(root, 'size.gguf');
  writeFileSync(file, lowBitGguf('Q1_0', new SeededRandom(11)));
  const source = await openModel(file);
  const recipe = resolveRecipe('as-is', {}, undefined, 'llama');
  const out = path.join(root, 'size');
  const { estimate } = checkBeforeStart({
    ...{ source, windows: null, recipe, embeddingBits: 16, outputDirectory: out, threads: 1 },
  });
  await keep(file, 'size');
  const opened = await openPackage(out);
  expect(opened.storedBitsPerWeight).toBe(estimate.storedBitsPerWeight);
  expect(estimate.storedBitsPerWeight).toBe(1.125);
  opened.close();
  source.close();
});

test('nothing but activation bits can be set', () => {
  expect(resolveRecipe('as-is', {}, 16, 'llama').activationBits).toBe(16);
  expect(() => resolveRecipe('as-is', { transform: 'ltdb' }, undefined, 'llama')).toThrow(
    'weights that are kept as they are can be neither transformed nor fitted',
  );
  expect(() => resolveRecipe('as-is', { compensation: 'column' }, undefined, 'llama')).toThrow('neither');
});

describe('scales', () => {
  const linear = (rows: number, columns: number): Linear => ({
    ...{ role: 'q', name: 'layer', outFeatures: rows, inFeatures: columns, bias: null },
  });
  function values(weight: LowBitWeight, columns: number): number[] {
    const groups = Math.ceil(columns / weight.groupSize);
    return Array.from(weight.codes, (code, i) => {
      const scale =
        weight.scales[Math.floor(i / columns) * groups + Math.floor((i % columns) / weight.groupSize)]!;
      return Math.fround(scale * (weight.levels === 2 ? 2 * code - 1 : code - 1));
    });
  }
  const smallest = 2 ** -24;
  test.each([
    ['of a whole tensor with 24 bits', 3, 200, [Math.fround(0.1234567)]],
    ['that are ordinary fp16', 128, 200, [0.5, 0.25, -0.125, 3]],
    ['too small for fp16', 128, 200, [2 ** -30, 2 ** -31, 2 ** -40, 2 ** -33]],
    ['too large for fp16', 128, 200, [2 ** 20, 2 ** 21, 2 ** 30, 2 ** 25]],
    ['at the edge of fp16', 128, 200, [65504, 32752, smallest, 3 * smallest]],
    ['of zero', 128, 200, [0, 0, 0, 0.5]],
    [
      'of bf16 with far exponents',
      128,
      200,
      [1.7265625 * 2 ** 40, 1.0078125 * 2 ** 41, 2 ** -60, 1.5 * 2 ** -61],
    ],
    ['that are equal and odd', 128, 200, [Math.PI, Math.PI, Math.E, Math.E].map(Math.fround)],
  ])('%s', (_, groupSize, columns, scales) => {
    for (const levels of [2, 3, 4] as const) {
      const random = new SeededRandom(levels);
      const groups = groupSize === 3 ? 1 : 2;
      const rows = groupSize === 3 ? 2 : scales.length / 2;
      const weight: LowBitWeight = {
        levels,
        codes: Uint8Array.from({ length: rows * columns }, () => random.nextUint32() % levels),
        scales: Float32Array.from({ length: rows * groups }, (_, i) => scales[i % scales.length]!),
        groupSize: groupSize === 3 ? columns : groupSize,
      };
      const grid = gridOf(linear(rows, columns), weight, null);
      expect(Array.from(dequantize(grid), (v) => v + 0)).toEqual(values(weight, columns).map((v) => v + 0));
      expect(grid.codes).toEqual(weight.codes);
    }
  });

  test('whose ratio has more bits than fp16 are refused', () => {
    const weight: LowBitWeight = {
      levels: 3,
      codes: new Uint8Array(200).fill(2),
      scales: Float32Array.of(Math.PI, Math.E),
      groupSize: 128,
    };
    expect(() => gridOf(linear(1, 200), weight, null)).toThrow(
      'layer: row 0 has the scales 3.1415927410125732, 2.7182817459106445, whose ratios fp16 cannot hold; kept as they are the weights would change, so as-is is refused; use a grid recipe instead',
    );
  });
});
