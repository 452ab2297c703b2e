import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { openModel } from '../../engine/model/open.ts';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import { packing } from '../../engine/native/packing.ts';
import { plannedTensors, valueBytesOf } from '../../engine/package/layout.ts';
import { openPackage } from '../../engine/package/open.ts';
import { entryOf, packLinear, unpackLinear } from '../../engine/package/pack-linear.ts';
import { verifyPackage } from '../../engine/package/verify.ts';
import {
  finishOptions,
  type LinearKind,
  linearNames,
  packTinyModel,
  randomLinear,
  roundedBlocks,
  tinyModels,
  writeBlocks,
} from './package-support.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-package-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const kinds: LinearKind[] = [
  { layout: 'grid', levels: 2 },
  { layout: 'grid', levels: 2, offsets: true, bias: true },
  { layout: 'grid', levels: 3, columnScale: true },
  { layout: 'grid', levels: 4, offsets: true },
  { layout: 'grid', levels: 5 },
  { layout: 'grid', levels: 3, rowScale: true, bias: true },
  { layout: 'grid', levels: 2, residualShare: 0.1 },
  { layout: 'grid', levels: 3, residualShare: 1, columnScale: true },
  { layout: 'grid', levels: 16, offsets: true, residualShare: 0.3, bias: true },
  { layout: 'grid', levels: 16, offsets: true, columnScale: true, bias: true },
  { layout: 'grid', levels: 255 },
  { layout: 'grid', levels: 256, offsets: true },
  { layout: 'structured' },
  { layout: 'structured', bias: true, columnScale: true },
];

describe('a packed linear comes back exactly', () => {
  test.each(kinds)('$layout, $levels levels, offsets $offsets', (kind) => {
    const random = new SeededRandom(1);
    for (const rows of [1, 15, 16, 17])
      for (const columns of [1, 31, 33, 127, 129, 200]) {
        const linear = randomLinear('layer', rows, columns, kind, random);
        const entry = entryOf(linear);
        const tensors = packLinear(linear);
        expect(tensors.map((bytes) => bytes.length)).toEqual(
          plannedTensors('layer', entry).map(valueBytesOf),
        );
        expect(unpackLinear('layer', entry, tensors)).toEqual(linear);
      }
  });

  test('bytes do not depend on how the arrays lie in memory', () => {
    const linear = randomLinear(
      'layer',
      17,
      129,
      { layout: 'grid', levels: 4, bias: true },
      new SeededRandom(2),
    );
    const shifted = new Uint8Array(new ArrayBuffer(linear.codes.length + 3), 3);
    shifted.set(linear.codes);
    expect(packLinear({ ...linear, codes: shifted })).toEqual(packLinear(linear));
  });

  test('a code that is not below its levels, a wrong length and a value that is not finite are refused', () => {
    const make = () => randomLinear('layer', 3, 5, { layout: 'grid', levels: 3 }, new SeededRandom(3));
    const wide = make();
    wide.codes[7] = 130;
    expect(() => packLinear(wide)).toThrow('layer: code 130 at row 1, column 2 is not below 3');
    const unused = make();
    unused.codes[0] = 3;
    expect(() => packLinear(unused)).toThrow('layer: code 3 at row 0, column 0 is not below 3');
    expect(() => packLinear({ ...make(), codes: new Uint8Array(14) })).toThrow(
      'layer: codes has 14 elements, expected 15',
    );
    const residual = randomLinear('layer', 3, 5, { layout: 'grid', residualShare: 0.6 }, new SeededRandom(3));
    if (residual.layout !== 'grid' || residual.residual === null) throw new Error('no residual');
    const withColumns = (...columns: number[]) => ({
      ...residual,
      residual: { ...residual.residual!, columns: Int32Array.from(columns) },
    });
    expect(() => packLinear(withColumns(0, 4, 4))).toThrow(
      'layer: residual column 2 is 4, which is no higher column of 5',
    );
    expect(() => packLinear(withColumns(3, 2, 4))).toThrow(
      'layer: residual column 1 is 2, which is no higher column of 5',
    );
    expect(() => packLinear(withColumns(-1, 2, 4))).toThrow('layer: residual column 0 is -1');
    expect(() => packLinear(withColumns(0, 1, 5))).toThrow('layer: residual column 2 is 5');
    expect(() => packLinear(withColumns(0, 1))).toThrow('layer: residual codes has 9 elements, expected 6');
    residual.residual.codes[4] = 2;
    expect(() => packLinear(residual)).toThrow('layer: residual code 2 at row 1, column 1 is not below 2');
    const infinite = randomLinear('layer', 3, 5, { layout: 'grid', levels: 3 }, new SeededRandom(3));
    if (infinite.layout === 'grid') infinite.scales[1] = 0x7c00;
    expect(() => packLinear(infinite)).toThrow(
      'layer: a scale of row 1, block 0 does not fit fp16 (largest finite value 65504)',
    );
    expect(() => packLinear({ ...make(), bias: Float32Array.of(0, Number.NaN, 0) })).toThrow(
      'layer: bias 1 is NaN',
    );
  });
});

describe('a package holds what was put into it', () => {
  const models = readdirSync(tinyModels);

  test.each(models)('%s, 16-bit tables', async (name) => {
    const source = await openModel(path.join(tinyModels, name));
    const blocks = roundedBlocks(source, { transform: true });
    const out = await packTinyModel(name, path.join(folder, name), { transform: true });
    const opened = await openPackage(out);
    expect(opened.warnings).toEqual([]);
    expect(opened.architecture).toEqual(source.architecture);
    expect([...opened.linears.keys()].sort()).toEqual(linearNames(source).sort());
    for (const linear of blocks.flatMap((block) => block.linears))
      expect(opened.readLinear(linear.name)).toEqual(linear);
    for (const { index, floatTensors } of blocks)
      for (const [tensor, { values }] of floatTensors) {
        expect(opened.readFloat32(tensor)).toEqual(values);
        expect(opened.dequantizedBlock(index).weights.get(tensor)).toEqual(values);
      }
    const folded = new Set(blocks.flatMap((block) => [...block.floatTensors.keys()]));
    for (const [tensor, location] of opened.floats) {
      if (folded.has(tensor)) continue;
      const values = source.readFloat32(tensor);
      const expected =
        location.dtype === 'F32' ? values : packing.halfsToFloats(packing.floatsToHalfs(values).halfs);
      expect(opened.readFloat32(tensor)).toEqual(expected);
    }
    for (const table of [opened.embedding, opened.head]) {
      const values = packing.halfsToFloats(packing.floatsToHalfs(source.readFloat32(table.name)).halfs);
      expect(opened.readFloat32(table.name)).toEqual(values);
      expect(opened.readRowsFloat32(table.name, 5, 3)).toEqual(
        values.subarray(5 * table.columns, 8 * table.columns),
      );
    }
    expect(opened.head === opened.embedding).toBe(source.architecture.head.tied);
    expect(opened.tokenizerFiles).toEqual(source.tokenizerFiles);
    opened.close();
    source.close();
  });

  test('tables at 8 bits are within half a step of their group', async () => {
    const source = await openModel(path.join(tinyModels, 'llama-odd-widths'));
    const out = await packTinyModel('llama-odd-widths', path.join(folder, 'eight'), { embeddingBits: 8 });
    const opened = await openPackage(out);
    const table = opened.embedding;
    expect(table.bits).toBe(8);
    const values = source.readFloat32(table.name);
    const stored = opened.readFloat32(table.name);
    for (let row = 0; row < table.rows; row += 1)
      for (let begin = 0; begin < table.columns; begin += 32) {
        const end = Math.min(begin + 32, table.columns);
        const group = values.slice(row * table.columns + begin, row * table.columns + end);
        const step = Math.max(...group.map(Math.abs)) / 127;
        group.forEach((value, index) => {
          const difference = Math.abs(value - stored[row * table.columns + begin + index]!);
          expect(difference).toBeLessThanOrEqual(step * 0.501 + 1e-9);
        });
      }
    opened.close();
    source.close();
  });

  test.each([6, 4] as const)('tables at %d bits are close, and rows are read from anywhere', async (bits) => {
    const source = await openModel(path.join(tinyModels, 'llama-odd-widths'));
    const out = path.join(folder, `table-${bits}`);
    const opened = await openPackage(await packTinyModel('llama-odd-widths', out, { embeddingBits: bits }));
    const { name, rows, columns, storedBytes } = opened.embedding;
    expect(storedBytes).toBe((rows / 16) * 2 * (bits * 64 + 32));
    const values = source.readFloat32(name);
    const stored = opened.readFloat32(name);
    let error = 0;
    let norm = 0;
    values.forEach((value, index) => {
      error += (value - stored[index]!) ** 2;
      norm += value ** 2;
    });
    expect(error / norm).toBeLessThan(bits === 6 ? 1e-3 : 1.5e-2);
    expect(opened.quality.tables).toMatchObject([{ name, method: 'rounded', relativeError: null }]);
    expect(opened.quality.tables![0]!.weightRelativeError).toBeCloseTo(error / norm, 6);
    for (const [begin, count] of [
      [0, 1],
      [15, 2],
      [17, 40],
      [rows - 1, 1],
      [rows, 0],
    ] as const)
      expect(opened.readRowsFloat32(name, begin, count)).toEqual(
        stored.subarray(begin * columns, (begin + count) * columns),
      );
    opened.close();
    source.close();
  });

  test('as a model its weights are the dequantized ones with the column scale multiplied in', async () => {
    const opened = await openPackage(path.join(folder, 'opt-relu'));
    const model = opened.asModelSource();
    const { weights, columnScales } = opened.dequantizedBlock(1);
    const name = 'model.decoder.layers.1.fc2';
    const scale = columnScales['mlp-out']!;
    const plain = weights.get(`${name}.weight`)!;
    const expected = plain.map((value, index) => value * scale[index % scale.length]!);
    expect(model.readFloat32(`${name}.weight`)).toEqual(expected);
    expect(model.readRowsFloat32(`${name}.weight`, 2, 1)).toEqual(
      expected.subarray(2 * scale.length, 3 * scale.length),
    );
    expect(model.readFloat32(`${name}.bias`)).toEqual(weights.get(`${name}.bias`));
    for (const [tensor, { shape }] of model.tensors)
      expect(model.readFloat32(tensor)).toHaveLength(shape.reduce((product, size) => product * size, 1));
    opened.close();
  });
});

describe('the bytes on disk', () => {
  test('are equal when everything is done twice', async () => {
    const [first, second] = [path.join(folder, 'once'), path.join(folder, 'twice')];
    await packTinyModel('qwen2', first);
    await packTinyModel('qwen2', second);
    expect(readdirSync(second)).toEqual(readdirSync(first));
    for (const name of readdirSync(first))
      expect(readFileSync(path.join(second, name)).equals(readFileSync(path.join(first, name)))).toBe(true);
    const text = readdirSync(first)
      .map((name) => readFileSync(path.join(first, name), 'latin1'))
      .join();
    expect(text).not.toContain(folder);
  });

  test('are still those of the fixtures', () => {
    const made = path.join(folder, 'fixtures');
    const script = path.resolve(import.meta.dirname, '../../scripts/fixtures/make-packages.ts');
    const result = spawnSync(process.execPath, [script, made], { encoding: 'utf8' });
    expect(result.stderr).toBe('');
    const fixtures = path.resolve(import.meta.dirname, '../fixtures/package');
    const names = readdirSync(made);
    expect([...names, 'README.md'].sort()).toEqual(readdirSync(fixtures).sort());
    for (const name of names) {
      expect(readdirSync(path.join(made, name))).toEqual(readdirSync(path.join(fixtures, name)));
      for (const file of readdirSync(path.join(made, name)))
        expect(
          readFileSync(path.join(made, name, file)).equals(readFileSync(path.join(fixtures, name, file))),
          `${name}/${file}`,
        ).toBe(true);
    }
  });

  test.each(['grid-16', 'grid-2-residual', 'grid-3-table-8', 'structured-learned-positions'])(
    'of the fixture %s verify',
    async (name) => {
      const report = await verifyPackage(path.resolve(import.meta.dirname, '../fixtures/package', name));
      expect(report).toMatchObject({ ok: true, problems: [] });
    },
  );

  test('stored bits count every byte of the linears, a tied table counts once', async () => {
    const opened = await openPackage(path.join(folder, 'llama-odd-widths'));
    let bytes = 0;
    let weights = 0;
    for (const linear of opened.linears.values()) {
      // planes of 4 bits, scales and offsets; everything in groups of 16 rows and lines of 32 columns.
      const groups = Math.ceil(linear.outFeatures / 16);
      const lines = Math.ceil(linear.inFeatures / 32);
      const rowValues = groups * Math.ceil(linear.inFeatures / 128) * 16 * 2;
      bytes += groups * lines * 4 * 64 + 2 * Math.ceil(rowValues / 64) * 64;
      if (linear.columnScale) bytes += Math.ceil((linear.inFeatures * 4) / 64) * 64;
      weights += linear.outFeatures * linear.inFeatures;
    }
    expect(opened.storedBitsPerWeight).toBe((8 * bytes) / weights);
    expect(opened.quality.linears.storedBitsPerWeight).toBe((8 * bytes) / weights);
    const files = readdirSync(opened.path).map((name) => readFileSync(path.join(opened.path, name)).length);
    expect(opened.packageBytes).toBe(files.reduce((sum, size) => sum + size, 0));
    const header = Number(readFileSync(opened.modelPath).readBigUInt64LE(0)) + 8;
    expect(header % 64).toBe(0);
    const floats = [...opened.floats.values()].reduce((sum, location) => sum + location.byteLength, 0);
    expect(opened.modelBytes).toBe(header + bytes + floats + opened.embedding.storedBytes);
    opened.close();
  });

  test('a finished package is found again by the same run and refused by another', async () => {
    const source = await openModel(path.join(tinyModels, 'qwen3'));
    const out = path.join(folder, 'again');
    const sink = writeBlocks(source, out);
    expect(sink.storedBlocks()).toEqual([0, 1]);
    const first = await sink.finish(finishOptions(source));
    expect(await sink.finish(finishOptions(source))).toEqual(first);
    await expect(sink.finish(finishOptions(source, { embeddingBits: 8 }))).rejects.toMatchObject({
      code: 'output-exists',
      message: `output ${out} exists already and is not the package of this run; move it away or choose another output`,
    });
    source.close();
  });
});
