import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DBellError } from '../../engine/contract/errors.ts';
import type { SyntheticStorage } from '../../engine/contract/measurement.ts';
import { createFloatTextModel } from '../../engine/float/text-model.ts';
import { type ModelShape, modelShapes } from '../../engine/model/model-shapes.ts';
import { openModel } from '../../engine/model/open.ts';
import { packing } from '../../engine/native/packing.ts';
import { bytesByPart } from '../../engine/package/byte-breakdown.ts';
import { exportGguf } from '../../engine/package/export-gguf.ts';
import { openPackage } from '../../engine/package/open.ts';
import { storedTables } from '../../engine/package/stored-tables.ts';
import { writeSyntheticPackage } from '../../engine/package/synthetic/synthetic-package.ts';
import { verifyPackage } from '../../engine/package/verify.ts';
import { createPackedTextModel } from '../../engine/runtime/packed-text-model.ts';
import { config, editJson, entry, type Json, tensor } from './package-damage.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-synthetic-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** No size is a multiple of 16 rows, 32 or 128 columns. */
const odd: ModelShape = {
  name: 'odd shape',
  ...{ hiddenSize: 88, intermediateSize: 147, blockCount: 2, headCount: 4, keyValueHeadCount: 2 },
  ...{ vocabularySize: 301, contextLength: 64, tiedHead: false },
};
const ids = Int32Array.from({ length: 40 }, (_, index) => (index * 37) % 301);

const storages: SyntheticStorage[] = [
  { levels: 2, tables: 'grid' },
  { levels: 3, tables: 'grid' },
  { levels: 4, tables: 'grid' },
  { levels: 16, tables: 'grid' },
  { levels: 4, tables: 6 },
  { levels: 2, tables: 4 },
  { levels: 3, tables: 16 },
];

describe.each([
  { shape: odd, what: 'odd' },
  { shape: { ...odd, tiedHead: true }, what: 'tied' },
])('$what', ({ shape, what }) => {
  test.each(storages)(
    '$levels levels, tables $tables: the runtime computes what the weights say',
    async (storage) => {
      const out = path.join(folder, `${what}-${storage.levels}-${storage.tables}`);
      const { modelBytes } = await writeSyntheticPackage(out, shape, storage);
      const report = await verifyPackage(out);
      expect(report.problems).toEqual([]);
      const source = await openPackage(out);
      expect(source.modelBytes).toBe(modelBytes);
      expect(bytesByPart(source).reduce((sum, { bytes }) => sum + bytes, 0)).toBe(source.packageBytes);
      expect(source.head === source.embedding).toBe(shape.tiedHead);
      const planes = { 2: 1, 3: 2, 4: 2, 16: 4 }[storage.levels];
      for (const table of storedTables(source))
        expect(table.bits).toBe(storage.tables === 'grid' ? planes : storage.tables);
      const packed = await createPackedTextModel(source, { threads: 1, activationBits: 16 });
      const float = await createFloatTextModel(source.asModelSource(), {
        threads: 1,
        headActivationBits: source.head.bits === 16 ? 16 : 8,
      });
      // Every linear and the head, each once.
      const parts = packed.layerPaths ?? [];
      expect(parts.reduce((sum, part) => sum + part.layers, 0)).toBe(source.linears.size + 1);
      const session = await packed.createSession();
      const expected = Float32Array.from(await (await float.createSession()).feed(ids));
      const logits = Float32Array.from(await session.feed(ids));
      const norm = (values: Float32Array) => Math.hypot(...values);
      const difference = norm(logits.map((value, index) => value - (expected[index] ?? 0)));
      // A value of the head's input on the border of two codes may fall to either side.
      expect(difference / norm(expected)).toBeLessThan(source.head.bits === 16 ? 1e-5 : 0.02);
      // Token by token is the same as all at once, to the bit.
      session.reset();
      let last = new Float32Array();
      for (const id of ids) last = Float32Array.from(await session.feed(Int32Array.of(id)));
      expect(last).toEqual(logits);
      await packed.close();
      await float.close();
      source.close();
    },
  );
});

test('a table of 8 bits needs columns by 32', async () => {
  const out = path.join(folder, 'eight');
  await writeSyntheticPackage(out, modelShapes.tiny, { levels: 16, tables: 8 });
  const source = await openPackage(out);
  expect(source.embedding.bits).toBe(8);
  source.close();
});

describe('a grid table that lies is refused', () => {
  const name = 'lm_head.weight';
  let base: string;
  beforeAll(async () => {
    base = path.join(folder, 'base');
    await writeSyntheticPackage(base, odd, { levels: 3, tables: 'grid' });
  });
  const rows: [string, (copy: string) => void, string][] = [
    ['planes that levels do not take', entry(name, { levels: 2 }), '2 levels take 1 planes, not 2'],
    ['levels that no table has', entry(name, { levels: 5 }), 'tensors.lm_head.weight.levels'],
    ['base 3 of four levels', entry(name, { levels: 4 }), 'codes are in base 3 but there are 4 levels'],
    ['a field that no table has', entry(name, { offsets: true }), 'tensors.lm_head.weight'],
    [
      'another number of rows',
      (copy: string) => {
        entry(name, { shape: [300, 88] })(copy);
        // quality.json lies along.
        editJson(path.join(copy, 'quality.json'), (quality) => {
          const table = (quality.tables as Json[]).find((each) => each.name === name)!;
          table.weights = 300 * 88;
          table.storedBitsPerWeight = (8 * Number(table.storedBytes)) / (300 * 88);
        });
      },
      'shape is [300, 88] but config.json implies [301, 88]',
    ],
    [
      'embedding bits that it does not have',
      config((quantization) => {
        quantization.embedding_bits = 1;
      }),
      'planes is 2 but embedding_bits is 1',
    ],
    ['a linear as a table', entry('model.layers.0.mlp.up_proj', { layout: 'grid-table' }), 'up_proj'],
    [
      'a byte that is no five digits',
      tensor(`${name}.dbell.base3`, (bytes) => {
        bytes[3] = 250;
      }),
      'byte 250 at row 0, column 3 is more than five digits of base 3 give (242)',
    ],
    [
      'a scale that is not finite',
      tensor(`${name}.dbell.scales`, (bytes) => {
        bytes.writeUInt16LE(0x7c00, 2 * 5);
      }),
      'the value of row 5, block 0 is not finite',
    ],
    [
      'padding rows that are not zero',
      tensor(`${name}.dbell.scales`, (bytes) => {
        bytes.writeUInt16LE(0x3c00, bytes.length - 2);
      }),
      'padding',
    ],
  ];
  test.each(rows)('%s', async (what, damage, message) => {
    const copy = path.join(folder, `broken ${what}`);
    cpSync(base, copy, { recursive: true });
    damage(copy);
    const error = await openPackage(copy).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(DBellError);
    expect((error as DBellError).code).toBe('invalid-package');
    expect((error as DBellError).message).toContain(message);
  });

  test('the runtime looks at base-3 bytes of tables too', async () => {
    const copy = path.join(folder, 'broken at run time');
    cpSync(base, copy, { recursive: true });
    tensor(`${name}.dbell.base3`, (bytes) => {
      bytes[3] = 250;
    })(copy);
    await expect(createPackedTextModel(copy, { threads: 1 })).rejects.toThrow('byte 250');
  });

  test('no export has a place for it but the dequantized one', async () => {
    const source = await openPackage(base);
    const file = path.join(folder, 'out.gguf');
    await expect(exportGguf(source, file)).rejects.toThrow(/stored as a grid.*--weights f16/);
    await exportGguf(source, file, { weights: 'f16' });
    const gguf = await openModel(file);
    const { name } = source.embedding;
    const halfs = packing.floatsToHalfs(source.readFloat32(name)).halfs;
    expect(gguf.readFloat32(name)).toEqual(packing.halfsToFloats(halfs));
    gguf.close();
    source.close();
  });
});
