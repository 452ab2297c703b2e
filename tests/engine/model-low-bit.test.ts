import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { linearsOf } from '../../engine/model/architecture.ts';
import { readTernaryRows } from '../../engine/model/bitnet.ts';
import { MemorySource } from '../../engine/model/byte-source.ts';
import { findQ2Groups } from '../../engine/model/gguf/q2-groups.ts';
import { detectLowBit } from '../../engine/model/low-bit.ts';
import { openModel } from '../../engine/model/open.ts';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import type { LowBitWeight } from '../../engine/model/source.ts';
import { copyTinyModel, editTensors } from './model-fixtures.ts';
import { type LowBitTypeName, lowBitGguf, lowBitTypes } from './model-low-bit-support.ts';

const fixtures = path.resolve(import.meta.dirname, '../fixtures/model');
const root = mkdtempSync(path.join(tmpdir(), 'dbell-low-bit-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let count = 0;
function write(bytes: Uint8Array): string {
  const file = path.join(root, `${count++}.gguf`);
  writeFileSync(file, bytes);
  return file;
}

/** W from codes and scales, one weight at a time. */
function valuesOf(weight: LowBitWeight, columns: number): Float32Array {
  const groups = Math.ceil(columns / weight.groupSize);
  return Float32Array.from(weight.codes, (code, index) => {
    const scale =
      weight.scales[Math.floor(index / columns) * groups + Math.floor((index % columns) / weight.groupSize)]!;
    return scale * (weight.levels === 2 ? 2 * code - 1 : code - 1);
  });
}

/** Numerically equal; −0 counts as 0. */
function expectEqual(actual: Float32Array, expected: Float32Array): void {
  expect(actual.length).toBe(expected.length);
  let differing = 0;
  for (let i = 0; i < expected.length; i++) if (actual[i] !== expected[i]) differing++;
  expect(differing).toBe(0);
}

describe.each(Object.keys(lowBitTypes) as LowBitTypeName[])('a GGUF of %s', (type) => {
  test('gives its own codes and scales, which make the very weights that are read', async () => {
    const model = await openModel(write(lowBitGguf(type, new SeededRandom(3))));
    for (const linear of linearsOf(model.architecture.blocks[0]!)) {
      const name = `${linear.name}.weight`;
      expect(model.tensors.get(name)?.storedType).toBe(type);
      const weight = model.lowBitWeight!(name)!;
      expect(weight.levels).toBe(type === 'Q1_0' ? 2 : 3);
      expect(weight.groupSize).toBe(lowBitTypes[type].elements);
      expectEqual(valuesOf(weight, linear.inFeatures), model.readFloat32(name));
    }
    expect(model.lowBitWeight!('model.embed_tokens.weight')).toBeNull();
    model.close();
  });

  test('may have anything behind its last tensor', async () => {
    const model = await openModel(write(lowBitGguf(type, new SeededRandom(3), () => {}, { trailing: 4000 })));
    expect(model.tensors.get('model.layers.0.mlp.down_proj.weight')?.storedType).toBe(type);
    model.close();
  });
});

test('the code 3 of two-bit types is +2 and a fourth level', async () => {
  const bytes = lowBitGguf('TQ2_0', new SeededRandom(5), () => {}, { allCodes: true });
  const model = await openModel(write(bytes));
  const name = 'model.layers.0.self_attn.q_proj.weight';
  const weight = model.lowBitWeight!(name)!;
  expect(weight.levels).toBe(4);
  expectEqual(valuesOf(weight, 256), model.readFloat32(name));
  model.close();
});

test('an infinite scale is found', async () => {
  const bytes = lowBitGguf('Q1_0', new SeededRandom(5), (tensors) => {
    tensors[3]!.bytes[18 * 2 * 7 + 18 + 1] = 0x7c;
    tensors[3]!.bytes[18 * 2 * 7 + 18] = 0;
  });
  const file = write(bytes);
  const model = await openModel(file);
  expect(() => model.lowBitWeight!('model.layers.0.self_attn.q_proj.weight')).toThrow(
    /tensor "model.layers.0.self_attn.q_proj.weight" has the scale Infinity in row 35, columns 128 …; the file is damaged/,
  );
  model.close();
});

describe('which groups Q2_0 has', () => {
  const span = (elements: number, offset: number, type = 42) => ({
    type,
    dimensions: [BigInt(elements)],
    offset: BigInt(offset),
  });
  const find = (spans: ReturnType<typeof span>[], bytes: number) => findQ2Groups(spans, BigInt(bytes), 32n);

  test('is told by the offsets, in whatever order the tensors are named', () => {
    expect(find([span(8192, 0), span(8192, 2304)], 4608)).toBe('Q2_0');
    expect(find([span(8192, 2176), span(8192, 0)], 4352)).toBe('Q2_0_G128');
    expect(find([span(8192, 0), span(64, 2304, 0)], 2560)).toBe('Q2_0');
    expect(find([span(8192, 0), span(64, 2176, 0)], 2560)).toBe('Q2_0_G128');
    expect(find([span(8192, 0, 0)], 8192)).toBeNull();
  });

  test('is told by the end of the file where nothing else says it', () => {
    expect(find([span(8192, 0)], 2304)).toBe('Q2_0');
    expect(find([span(8192, 0)], 2176)).toBe('Q2_0_G128');
    expect(find([span(8192 + 64, 0)], 2336)).toBe('Q2_0');
  });

  test('is not guessed', () => {
    expect(find([span(128, 0), span(128, 64)], 128)).toBe('ambiguous');
    expect(find([span(8192, 0), span(8192, 2400)], 4800)).toBe('neither');
    expect(find([span(8192, 0), span(8192, 2304)], 4000)).toBe('neither');
    expect(find([span(8192, 0), span(8192, 2176)], 2500)).toBe('neither');
    expect(find([span(8192, 0), span(8192, 0)], 4608)).toBe('neither');
  });
});

test("packed ternary rows are those of transformers' unpack_weights", () => {
  const { cases } = JSON.parse(readFileSync(path.join(fixtures, 'bitnet-packing.json'), 'utf8')) as {
    cases: { shape: [number, number]; packed: string; float32: string }[];
  };
  expect(cases.length).toBeGreaterThan(3);
  for (const { shape, packed, float32 } of cases) {
    const source = new MemorySource(new Uint8Array(Buffer.from(packed, 'base64')));
    const expected = new Float32Array(new Uint8Array(Buffer.from(float32, 'base64')).buffer);
    const location = {
      source,
      storedType: 'U8_TERNARY' as const,
      shape,
      position: 0,
      bytes: source.size,
      ternary: { scale: 0.75 },
    };
    const values = new Float32Array(expected.length);
    readTernaryRows('w', location, 0, shape[0], values);
    expectEqual(
      values,
      expected.map((value) => value * 0.75),
    );
    const one = new Float32Array(shape[1]);
    readTernaryRows('w', location, shape[0] - 2, 1, one);
    expectEqual(one, values.subarray((shape[0] - 2) * shape[1], (shape[0] - 1) * shape[1]));
  }
});

test('a BitNet folder whose scale divides: codes, scale, and weights', async () => {
  const model = await openModel(path.join(fixtures, 'tiny/llama-bitnet'));
  expect(model.config).not.toHaveProperty('quantization_config');
  const name = 'model.layers.1.mlp.down_proj.weight';
  expect(model.tensors.get(name)).toMatchObject({ storedType: 'U8_TERNARY', shape: [32, 48] });
  const weight = model.lowBitWeight!(name)!;
  expect(weight.levels).toBe(3);
  expect(new Set(weight.codes)).toEqual(new Set([0, 1, 2]));
  const [scale] = weight.scales;
  // The stored bf16 number is the inverse of the level.
  const inverse = new Float32Array([1 / scale!]);
  expect(new Uint16Array(inverse.buffer)[0]! === 0 || Math.fround(1 / inverse[0]!) === scale).toBe(true);
  expectEqual(valuesOf(weight, 48), model.readFloat32(name));
  expect(model.readRowsFloat32(name, 30, 2)).toEqual(model.readFloat32(name).subarray(30 * 48));
  model.close();
});

test('float weights with few levels in every row and 128 columns are found', () => {
  const columns = 200;
  const row = (scales: [number, number], step: number) =>
    Array.from({ length: columns }, (_, j) => scales[j < 128 ? 0 : 1] * ((j % step) - 1 || 0));
  const ternary = new Float32Array([...row([0.3, 0.7], 3), ...row([0.1, 0], 3)]);
  const found = detectLowBit(ternary, 2, columns) as LowBitWeight;
  expect(found.levels).toBe(3);
  expect(Array.from(found.scales)).toEqual([0.3, 0.7, 0.1, 0].map(Math.fround));
  expectEqual(valuesOf(found, columns), ternary);
  const binary = Float32Array.from(ternary.subarray(0, columns), (value) => (value > 0 ? 0.25 : -0.25));
  const pair = detectLowBit(binary, 1, columns) as LowBitWeight;
  expect(pair.levels).toBe(2);
  expectEqual(valuesOf(pair, columns), binary);
  ternary[columns + 130] = 0.5;
  ternary[columns + 150] = 0.25;
  expect(detectLowBit(ternary, 2, columns)).toEqual({ row: 1, column: 150 });
});

test('float weights of the bundled kind have more levels', async () => {
  const model = await openModel(path.join(fixtures, 'tiny/llama-plain'));
  expect(model.lowBitWeight!('model.layers.0.self_attn.q_proj.weight')).toBeNull();
  model.close();
});

test('a BitNet folder with unpacked codes beside the scale multiplies them', async () => {
  const folder = copyTinyModel('llama-bitnet', path.join(root, 'unpacked'));
  const config = path.join(folder, 'config.json');
  writeFileSync(
    config,
    readFileSync(config, 'utf8').replace(
      '"quant_method":"bitnet"',
      '"quant_method":"bitnet","linear_class":"autobitlinear"',
    ),
  );
  const original = await openModel(path.join(fixtures, 'tiny/llama-bitnet'));
  const name = 'model.layers.0.self_attn.v_proj.weight';
  const codes = original.lowBitWeight!(name)!.codes;
  original.close();
  editTensors(folder, (tensors) => {
    const values = Float32Array.from(codes, (code) => code - 1);
    tensors.set(name, { dtype: 'F32', shape: [16, 32], bytes: new Uint8Array(values.buffer) });
    const scale = new Float32Array([0.3]);
    tensors.set(`${name}_scale`, { dtype: 'F32', shape: [1], bytes: new Uint8Array(scale.buffer) });
  });
  const model = await openModel(folder);
  expectEqual(
    model.readFloat32(name),
    Float32Array.from(codes, (code) => Math.fround(0.3) * (code - 1)),
  );
  expect(model.lowBitWeight!(name)!.scales[0]).toBe(Math.fround(0.3));
  model.close();
});

test('a file that was cut within its Q2_0 tensors says so', async () => {
  const bytes = lowBitGguf('Q2_0', new SeededRandom(5));
  await expect(openModel(write(bytes.subarray(0, bytes.length - 20_000)))).rejects.toThrow(
    /the offsets of the tensors of type Q2_0 fit neither groups of 64 weights in 18 bytes nor of 128 in 34; the file is cut or damaged/,
  );
});
