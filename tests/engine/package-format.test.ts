import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { linearsOf } from '../../engine/model/architecture.ts';
import { openModel } from '../../engine/model/open.ts';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import { codeLayoutOf, planeCountOf } from '../../engine/package/layout.ts';
import { openPackage } from '../../engine/package/open.ts';
import { packLinear } from '../../engine/package/pack-linear.ts';
import { storedBytesOf } from '../../engine/package/quality.ts';
import { createPackageSink } from '../../engine/package/sink.ts';
import { dequantize } from '../../engine/quantize/dequantize.ts';
import type { GridLinear, GridResidual, QuantizedLinear } from '../../engine/quantize/quantized-linear.ts';
import { PackedReader } from '../reference/packed-reader.ts';
import { finishOptions, randomLinear, tinyModels } from './package-support.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-format-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A package whose linears are random in every layout there is, one after the other. */
async function packRandom(model: string, embeddingBits: 16 | 8 | 6 | 4): Promise<string> {
  const source = await openModel(path.join(tinyModels, model));
  const out = path.join(folder, `${model}-${embeddingBits}`);
  const sink = createPackageSink({ workDirectory: `${out}.partial`, outputDirectory: out });
  const random = new SeededRandom(11);
  let turn = 0;
  for (const block of source.architecture.blocks) {
    const linears: QuantizedLinear[] = [];
    for (const stage of block.stages) {
      const columnScale = turn % 2 === 0;
      let shared: Float32Array | null = null;
      for (const { name, outFeatures, inFeatures, bias } of stage.linears) {
        const layout = turn % 3 === 0 ? 'structured' : 'grid';
        const kind = {
          layout,
          levels: [2, 3, 4, 16, 200][turn % 5]!,
          offsets: turn % 2 === 1,
          residualShare: [0, 0.1, 1, 0.4][turn % 4]!,
          columnScale,
        } as const;
        const linear = randomLinear(name, outFeatures, inFeatures, { ...kind, bias: bias !== null }, random);
        shared ??= linear.columnScale;
        linears.push({ ...linear, columnScale: columnScale ? shared : null });
        turn += 1;
      }
    }
    const reports = linearsOf(block).map(({ name }) => ({
      ...{ name, relativeError: 1, weightRelativeError: 1, notes: [] },
    }));
    sink.writeBlock({ index: block.index, linears, floatTensors: new Map(), reports });
  }
  await sink.finish({ ...finishOptions(source), embeddingBits });
  source.close();
  return out;
}

describe('a reader written from docs/format.md reads the same numbers', () => {
  test.each([
    ['llama-odd-widths', 16],
    ['opt-post-norm-projected', 8],
    ['qwen2', 8],
    ['llama-odd-widths', 6],
    ['opt-post-norm-projected', 4],
    ['llama-untied', 6],
    ['qwen3', 4],
  ] as const)('%s with tables at %d bits', async (model, embeddingBits) => {
    const out = await packRandom(model, embeddingBits);
    const reference = new PackedReader(out);
    const opened = await openPackage(out);
    const dequantized = opened.asModelSource();
    const seen = new Set<string>();
    for (const block of opened.architecture.blocks) {
      const { weights, columnScales } = opened.dequantizedBlock(block.index);
      for (const stage of block.stages) {
        for (const { name, bias } of stage.linears) {
          seen.add(name);
          expect(Array.from(weights.get(`${name}.weight`)!), name).toEqual(reference.linear(name));
          expect(Array.from(dequantized.readFloat32(`${name}.weight`)), name).toEqual(
            reference.linear(name, true),
          );
          if (bias !== null) expect(Array.from(weights.get(bias)!)).toEqual(reference.bias(name));
        }
        const first = stage.linears[0]!.name;
        expect(columnScales[stage.name] !== undefined).toBe(reference.entries[first]!.column_scale);
      }
    }
    for (const name of Object.keys(reference.entries)) {
      if (seen.has(name)) continue;
      expect(Array.from(opened.readFloat32(name)), name).toEqual(reference.values(name));
    }
    opened.close();
  });

  describe('the worked example', () => {
    const text = readFileSync(path.resolve(import.meta.dirname, '../../docs/format.md'), 'utf8');
    const hex = (bytes: Uint8Array) =>
      Buffer.from(bytes).toString('hex').replace(/../g, '$& ').trim().toUpperCase();
    /** The bytes that are not zero, up to `shown`, and how many zeros follow. */
    const listed = (bytes: Uint8Array, shown: number) => {
      expect(bytes.subarray(shown).every((byte) => byte === 0)).toBe(true);
      return `${hex(bytes.subarray(0, shown))} and ${bytes.length - shown} zeros`;
    };
    const linear = (levels: number, residual: GridResidual | null): GridLinear => ({
      ...{ layout: 'grid', name: 'example', outFeatures: 2, inFeatures: 5, levels, offsets: null, residual },
      ...{ bias: null, columnScale: null },
      codes: Uint8Array.of(0, 1, 2, 1, 2, 2, 2, 0, 0, 1),
      scales: Uint16Array.of(0x3800, 0x4000),
    });

    test('of four levels in planes', () => {
      const [planes, scales] = packLinear(linear(4, null));
      expect(text).toContain(
        `planes [1, 1, 2, 64] = 128 bytes:  ${listed(planes!.subarray(0, 64), 8)},  ${listed(planes!.subarray(64), 8)}`,
      );
      expect(text).toContain(`scales [1, 1, 16]    =  32 bytes:  ${listed(scales!, 4)}`);
      expect([...dequantize(linear(4, null))]).toEqual([-0.75, -0.25, 0.25, -0.25, 0.25, 1, 1, -3, -3, -1]);
    });

    test('of three levels in base 3', () => {
      const [base3] = packLinear(linear(3, null));
      expect(text).toContain(`base3 [1, 16] = 16 bytes:  ${listed(base3!, 2)}`);
      expect([...dequantize(linear(3, null))]).toEqual([-0.5, 0, 0.5, 0, 0.5, 2, 2, -2, -2, 0]);
    });

    test('of residual columns', () => {
      const residual: GridResidual = {
        columns: Int32Array.of(1, 4),
        levels: 2,
        codes: Uint8Array.of(1, 0, 0, 1),
        scales: Uint16Array.of(0x3c00, 0x3800),
      };
      const [, , columns, planes, scales] = packLinear(linear(3, residual));
      expect(text).toContain(`residual_columns [2]          =  8 bytes:  ${hex(columns!)}; stored`);
      expect(text).toContain(`residual_planes [1, 1, 1, 64] = 64 bytes:  ${listed(planes!, 8)}`);
      expect(text).toContain(`residual_scales [1, 1, 16]    = 32 bytes:  ${listed(scales!, 4)}; stored`);
      expect([...dequantize(linear(3, residual))]).toEqual([-0.5, 0.5, 0.5, 0, 0, 2, 1.75, -2, -2, 0.25]);
    });
  });

  test('linears of a stage that disagree about the column scale are refused', async () => {
    const source = await openModel(path.join(tinyModels, 'llama-plain'));
    const out = path.join(folder, 'disagree');
    const sink = createPackageSink({ workDirectory: `${out}.partial`, outputDirectory: out });
    const random = new SeededRandom(5);
    for (const block of source.architecture.blocks)
      sink.writeBlock({
        index: block.index,
        linears: linearsOf(block).map(({ name, outFeatures, inFeatures }) =>
          randomLinear(name, outFeatures, inFeatures, { layout: 'grid', columnScale: true }, random),
        ),
        floatTensors: new Map(),
        reports: linearsOf(block).map(({ name }) => ({
          ...{ name, relativeError: 1, weightRelativeError: 1, notes: [] },
        })),
      });
    await sink.finish(finishOptions(source));
    source.close();
    const opened = await openPackage(out);
    expect(() => opened.dequantizedBlock(0)).toThrow(
      `${opened.path}: model.layers.0.self_attn.q_proj and model.layers.0.self_attn.k_proj read the same input but have different column scales`,
    );
    opened.close();
  });
});

describe('stored bits', () => {
  /** Of linears `[rows, columns, whether c is stored]`, from the planned tensors with their padding. */
  const storedBits = (levels: number, share: number, linears: [number, number, boolean][]): number => {
    let bytes = 0;
    let weights = 0;
    for (const [rows, columns, columnScale] of linears) {
      const residual = Math.round(share * columns);
      const codes = codeLayoutOf(levels, rows, columns);
      bytes += storedBytesOf('layer', {
        ...{ layout: 'grid', shape: [rows, columns], levels, planes: planeCountOf(levels) },
        ...(codes === 'base-3' ? { codes } : {}),
        ...(residual > 0 ? { residual_columns: residual } : {}),
        ...{ offsets: false, column_scale: columnScale, bias: false },
      });
      weights += rows * columns;
    }
    return (8 * bytes) / weights;
  };

  test('are those of the table in docs/format.md where nothing is padded', () => {
    const square: [number, number, boolean][] = [[4096, 4096, false]];
    expect(storedBits(2, 0, square)).toBe(1.125);
    // 26 bytes for a row and 128 columns are 1.625 bits a weight.
    expect(storedBits(3, 0, square)).toBe(1.75);
    expect(storedBits(4, 0, square)).toBe(2.125);
    expect(storedBits(3, 0, [[4096, 4096, true]])).toBe(1.75 + 32 / 4096);
    const tenPercent = storedBits(2, 0.125, square) - 1.125;
    expect(tenPercent).toBeCloseTo(0.125 * (1.125 + 32 / 4096), 10);
  });

  test('of three levels with scales stay below 1.8 in the shapes of small models', () => {
    // SmolLM2-135M: 576 columns are four blocks and a half, whose scales cost 16 bits too. c of o and down is stored.
    const smol: [number, number, boolean][] = [
      ...[576, 192, 192].map((rows): [number, number, boolean] => [rows, 576, false]),
      [576, 576, true],
      ...[1536, 1536].map((rows): [number, number, boolean] => [rows, 576, false]),
      [576, 1536, true],
    ];
    expect(storedBits(3, 0, smol)).toBeCloseTo(1.7795, 3);
    expect(storedBits(2, 0, smol)).toBeCloseTo(1.1545, 3);
    expect(storedBits(2, 0.1, smol)).toBeLessThan(1.3);
    const stories: [number, number, boolean][] = [
      ...[256, 128, 128].map((rows): [number, number, boolean] => [rows, 256, false]),
      [256, 256, true],
      ...[768, 768].map((rows): [number, number, boolean] => [rows, 256, false]),
      [256, 768, true],
    ];
    expect(storedBits(3, 0, stories)).toBeCloseTo(1.7917, 3);
  });

  test('base 3 is taken where it is smaller on disk, and only there', () => {
    const taken = [];
    for (const rows of [1, 16, 17, 64])
      for (const columns of [1, 5, 32, 33, 64, 128, 130]) {
        const entry = {
          layout: 'grid' as const,
          shape: [rows, columns] as [number, number],
          levels: 3,
          planes: 2,
        };
        const rest = { offsets: false, column_scale: false, bias: false };
        const planes = storedBytesOf('layer', { ...entry, ...rest });
        const base3 = storedBytesOf('layer', { ...entry, codes: 'base-3', ...rest });
        expect(codeLayoutOf(3, rows, columns), `${rows} × ${columns}`).toBe(
          base3 < planes ? 'base-3' : 'planes',
        );
        taken.push(base3 < planes);
      }
    expect(new Set(taken).size).toBe(2);
    expect(codeLayoutOf(4, 64, 128)).toBe('planes');
  });
});
