import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { tokenizerFromGguf } from '../../engine/model/gguf-tokenizer.ts';
import { openModel } from '../../engine/model/open.ts';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import { storedLayout } from '../../engine/model/stored-types.ts';
import { createTokenizer } from '../../engine/model/tokenizer-huggingface.ts';
import { packing } from '../../engine/native/packing.ts';
import { exportGguf } from '../../engine/package/export-gguf.ts';
import { type ExportRounding, encodeLinear, mapLinear } from '../../engine/package/export-gguf-linear.ts';
import { tokenizerMetadata } from '../../engine/package/export-gguf-tokenizer.ts';
import { openPackage } from '../../engine/package/open.ts';
import { gridOf } from '../../engine/quantize/as-is.ts';
import { dequantize } from '../../engine/quantize/dequantize.ts';
import type { GridLinear } from '../../engine/quantize/quantized-linear.ts';
import { bundled } from '../assets.ts';
import { packSymmetric, symmetricLinear, tinyModelOfWidth64 } from './package-export-support.ts';
import { packTinyModel, randomLinear, signedUniform } from './package-support.ts';
import { comparable, definitionOf, hugeTextNames, textOf, variants } from './tokenizer-fixtures.ts';

const root = mkdtempSync(path.join(tmpdir(), 'dbell-export-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

function randomGrid(levels: number, columns: number, kind: { offsets?: boolean; rowScale?: boolean } = {}) {
  const linear = randomLinear(
    'layer',
    5,
    columns,
    { layout: 'grid', levels, ...kind },
    new SeededRandom(levels),
  );
  return linear as GridLinear;
}

/** What a reader of the blocks gets, by the reader's own code. */
function decode(
  linear: GridLinear,
  rounding: ExportRounding,
): { type: string; values: Float32Array; shift: number } {
  const mapping = mapLinear(linear, rounding);
  const bytes = encodeLinear(linear, mapping, (row) => row);
  const values = new Float32Array(linear.codes.length);
  storedLayout(mapping.type)!.widen(bytes, values, 0);
  return { type: mapping.type, values, shift: mapping.largestShift };
}

describe('a grid linear becomes blocks of ggml', () => {
  test.each([
    [2, 256, 'Q1_0'],
    [2, 192, 'Q4_0'],
    [3, 320, 'Q2_0'],
    [3, 96, 'Q4_0'],
    [4, 160, 'Q4_0'],
    [5, 160, 'Q4_0'],
    [8, 256, 'Q4_0'],
    [15, 256, 'Q4_0'],
  ])('%d levels of %d columns exactly as %s', (levels, columns, type) => {
    const linear = randomGrid(levels, columns);
    const decoded = decode(linear, 'compact');
    expect(decoded.type).toBe(type);
    expect(decoded.shift).toBe(0);
    expect(decoded.values).toEqual(dequantize(linear));
  });

  test('16 levels as Q4_1 with a rounded minimum, or exactly as Q5_0', () => {
    const linear = randomGrid(16, 192);
    const rounded = decode(linear, 'compact');
    expect(rounded.type).toBe('Q4_1');
    // Half a unit in the last place of 7.5 steps at 11 bits.
    expect(rounded.shift).toBeGreaterThan(0);
    expect(rounded.shift).toBeLessThan(0.004);
    const expected = dequantize(linear);
    const steps = packing.halfsToFloats(linear.scales);
    for (const [index, value] of rounded.values.entries()) {
      const step = Math.abs(steps[Math.floor(index / 192) * 2 + Math.floor((index % 192) / 128)]!);
      expect(Math.abs(value - expected[index]!)).toBeLessThanOrEqual((rounded.shift + 1e-6) * step);
    }
    const exact = decode(linear, 'exact');
    expect(exact.type).toBe('Q5_0');
    expect(exact.values).toEqual(expected);
  });

  test('16 levels whose steps have few digits exactly as Q4_1', () => {
    const linear = randomGrid(16, 128);
    linear.scales.fill(0x2e00);
    const decoded = decode(linear, 'exact');
    expect(decoded.type).toBe('Q5_0');
    const plain = decode(linear, 'compact');
    expect(plain.type).toBe('Q4_1');
    expect(plain.shift).toBe(0);
    expect(plain.values).toEqual(dequantize(linear));
  });

  test('offsets as Q4_1; exactness is not promised where it is not there', () => {
    const linear = randomGrid(4, 128, { offsets: true });
    expect(decode(linear, 'compact').type).toBe('Q4_1');
    expect(() => mapLinear(linear, 'exact')).toThrow(
      /^layer cannot be exported: the smallest value of its blocks would be rounded to fp16 \(by up to \S+ of a step\)$/,
    );
  });

  test('a fourth level of natively ternary models as Q2_0', () => {
    const weight = {
      levels: 4 as const,
      codes: randomGrid(4, 128).codes,
      scales: Float32Array.of(0.5, -0.25, 0.125, 3, 0.0625),
      groupSize: 128,
    };
    const grid = gridOf({ ...randomGrid(4, 128), role: 'q', bias: null }, weight, null);
    const decoded = decode(grid, 'exact');
    expect(decoded.type).toBe('Q2_0');
    expect(Buffer.compare(bytes(decoded.values), bytes(dequantize(grid)))).toBe(0);
  });

  test('row scales where their product with the step is an fp16 number', () => {
    const linear = randomGrid(3, 128);
    const scaled = { ...linear, rowScale: Float32Array.of(2, 0.5, 1, 4, 0.25) };
    expect(decode(scaled, 'exact').values).toEqual(dequantize(scaled));
    expect(() => mapLinear({ ...linear, rowScale: new Float32Array(5).fill(Math.PI) }, 'closest')).toThrow(
      'layer cannot be exported: its scales have more bits than fp16, which GGUF stores',
    );
  });

  test('or is refused with the reason', () => {
    const refusal = (linear: Parameters<typeof mapLinear>[0]) => {
      try {
        mapLinear(linear, 'closest');
      } catch (error) {
        return (error as Error).message;
      }
      return null;
    };
    expect(refusal(randomLinear('layer', 5, 128, { layout: 'structured' }, new SeededRandom(1)))).toBe(
      'layer cannot be exported: its structured layout (two groups and salient columns) has no counterpart in GGUF',
    );
    const linear = randomGrid(2, 128);
    expect(refusal({ ...linear, columnScale: new Float32Array(128).fill(1) })).toBeNull();
    expect(refusal({ ...linear, columnScale: new Float32Array(128).fill(0.5) })).toBe(
      'layer cannot be exported: it has a scale for each column, which GGUF has no place for; quantize with --set columnScale=folded or none',
    );
    const residual = {
      ...{ columns: Int32Array.of(3), levels: 2 as const },
      ...{ codes: new Uint8Array(5), scales: new Uint16Array(5) },
    };
    expect(refusal({ ...linear, residual })).toBe(
      'layer cannot be exported: residual columns have no counterpart in GGUF',
    );
    expect(refusal(randomGrid(2, 129))).toBe(
      "layer cannot be exported: its 129 columns are no multiple of 32, GGUF's block",
    );
    expect(refusal(randomGrid(17, 128))).toBe(
      "layer cannot be exported: its 17 levels are more than the 16 of GGUF's four-bit blocks",
    );
    const large = randomGrid(16, 128);
    large.scales.fill(0x7bff);
    expect(mapLinear(large, 'exact').type).toBe('Q5_0');
    expect(() => mapLinear(large, 'compact')).toThrow(
      'layer cannot be exported: the smallest value of a block exceeds fp16, in which GGUF stores it',
    );
    // Half of the smallest fp16 number is none, so neither Q1_0 nor Q4_0 hold it; Q4_1 rounds.
    const smallest = randomGrid(2, 128);
    smallest.scales.fill(1);
    expect(mapLinear(smallest, 'closest').type).toBe('Q4_1');
    expect(() => mapLinear(smallest, 'exact')).toThrow('rounded to fp16');
  });
});

const text = 'One day, Lily said: "I have 12 apples & 345 pears!"\n\n  She was   happy.\tÄpfel, 東京';

describe.each([
  ['llama-plain', 2],
  ['llama-untied', 4],
  ['llama-attention-bias', 8],
  ['llama-mlp-bias', 3],
  ['llama-rope-llama3', 2],
  ['llama-rope-linear', 2],
  ['llama-head-dim', 2],
  ['mistral', 2],
  ['qwen2', 3],
  ['qwen3', 4],
  ['qwen3-attention-bias', 2],
] as const)('%s of %d levels, exported', (name, levels) => {
  test('is the same model when it is read again', async () => {
    const model = tinyModelOfWidth64(name, path.join(root, `${name}-model`), new SeededRandom(4));
    const opened = await openPackage(await packSymmetric(model, path.join(root, name), levels));
    const file = path.join(root, `${name}.gguf`);
    const fractions: number[] = [];
    const result = await exportGguf(opened, file, { onProgress: (fraction) => fractions.push(fraction) });
    expect(result.notes).toEqual([]);
    expect(fractions.at(-1)).toBe(1);
    const gguf = await openModel(file);
    expect(gguf.warnings).toEqual([]);
    expect(gguf.fileBytes).toBe(result.bytes);
    const packed = opened.asModelSource();
    const { family, modelType, endOfTextIds, ...architecture } = packed.architecture;
    expect(gguf.architecture).toMatchObject(
      JSON.parse(JSON.stringify(name === 'mistral' ? { ...architecture, blocks: [] } : architecture)).blocks
        .length === 0
        ? { hiddenSize: 32, headDimension: 16, head: architecture.head }
        : architecture,
    );
    if (name !== 'mistral')
      expect([gguf.architecture.family, gguf.architecture.modelType]).toEqual([family, modelType]);
    expect(gguf.architecture.endOfTextIds).toEqual(endOfTextIds);
    expect([...gguf.tensors.keys()].sort()).toEqual([...packed.tensors.keys()].sort());
    for (const tensor of packed.tensors.keys())
      expect(
        `${tensor} ${Buffer.compare(bytes(gguf.readFloat32(tensor)), bytes(packed.readFloat32(tensor)))}`,
      ).toBe(`${tensor} 0`);
    const encode = (source: typeof gguf) =>
      createTokenizer(source.tokenizer, { modelVocabularySize: source.architecture.vocabularySize }).encode(
        text,
      );
    expect(encode(gguf)).toEqual(encode(packed));
    gguf.close();
    opened.close();
  });
});

/** Bytes with −0 as 0. */
function bytes(values: Float32Array): Buffer {
  return Buffer.from(values.map((value) => value + 0).buffer);
}

test.each([4, 6, 8] as const)('a table of %d bits keeps its codes and scales', async (embeddingBits) => {
  const model = tinyModelOfWidth64(
    'llama-untied',
    path.join(root, `table-${embeddingBits}-model`),
    new SeededRandom(4),
  );
  const out = await packSymmetric(model, path.join(root, `table-${embeddingBits}`), 2, { embeddingBits });
  const opened = await openPackage(out);
  const file = path.join(root, `table-${embeddingBits}.gguf`);
  const { types } = await exportGguf(opened, file);
  expect(types[embeddingBits === 4 ? 'Q4_0' : 'Q8_0']?.tensors).toBeGreaterThanOrEqual(2);
  const gguf = await openModel(file);
  for (const name of ['model.embed_tokens.weight', 'lm_head.weight'])
    expect(Buffer.compare(bytes(gguf.readFloat32(name)), bytes(opened.readFloat32(name)))).toBe(0);
  gguf.close();
  opened.close();
});

test.each([2, 16])('the bundled model of %d levels and an 8-bit table', async (levels) => {
  const out = await packSymmetric(bundled.model, path.join(root, `stories-${levels}`), levels, {
    embeddingBits: 8,
  });
  const opened = await openPackage(out);
  const file = path.join(root, `stories-${levels}.gguf`);
  const result = await exportGguf(opened, file, { rounding: 'exact' });
  expect(Object.keys(result.types).sort()).toEqual(
    levels === 2 ? ['F32', 'Q1_0', 'Q8_0'] : ['F32', 'Q5_0', 'Q8_0'],
  );
  const gguf = await openModel(file);
  const packed = opened.asModelSource();
  for (const tensor of packed.tensors.keys())
    expect(Buffer.compare(bytes(gguf.readFloat32(tensor)), bytes(packed.readFloat32(tensor)))).toBe(0);
  if (levels === 2) {
    // Read back, the very codes and scales: half of ours, since ggml's codes stand for −1 and 1.
    for (const [name, { outFeatures, inFeatures }] of opened.linears) {
      const ours = opened.readLinear(name) as GridLinear;
      const weight = gguf.lowBitWeight!(`${name}.weight`)!;
      const back = gridOf({ name, outFeatures, inFeatures, role: 'q', bias: null }, weight, null);
      expect(back.codes).toEqual(ours.codes);
      expect(back.scales).toEqual(ours.scales);
      expect(back.levels).toBe(2);
    }
  }
  gguf.close();
  opened.close();
});

describe('the tokenizer in an export', () => {
  /** Read back by the reader of GGUF files; values as that finds them in a file. */
  function again(variant: string) {
    const { tokenizer, config } = definitionOf(variant);
    const sizes = Object.values(tokenizer.model.vocab as Record<string, number>);
    const added = (tokenizer.added_tokens as { id: number }[]).map(({ id }) => id);
    const metadata = tokenizerMetadata({
      tokenizer: { tokenizer, config },
      chatTemplate: null,
      architecture: {
        vocabularySize: Math.max(...sizes, ...added) + 4,
        beginOfTextId: null,
        endOfTextIds: [],
      },
    });
    return tokenizerFromGguf(new Map([...metadata].map(([key, { value }]) => [key, value])));
  }

  test.each(['gpt2', 'gpt2 merges as strings', 'smollm', 'llama3', 'qwen2', 'llama'])(
    '%s has the ids that it had',
    (variant) => {
      const tokenizer = createTokenizer(again(variant));
      let compared = 0;
      for (const [name, { ids }] of Object.entries(variants[variant]?.expected ?? {})) {
        if (hugeTextNames.includes(name)) continue;
        const found = tokenizer.encode(textOf(name), { parseSpecial: true });
        expect.soft(comparable(found, ids), name).toEqual(ids);
        compared += 1;
      }
      expect(compared).toBeGreaterThan(5);
    },
  );

  test('is refused where GGUF has no value for it', () => {
    expect(() => again('bloom')).toThrow(
      'its tokenizer splits text in a way that no value of tokenizer.ggml.pre known here stands for',
    );
    expect(() => again('gpt2 prefix space')).toThrow('no value of tokenizer.ggml.pre');
    expect(() => again('nfkc strip')).toThrow(/no value|has no value for|not BPE/);
  });
});

describe('an export', () => {
  test('is refused before anything is written', async () => {
    const opened = await openPackage(await packTinyModel('opt-relu', path.join(root, 'opt')));
    const file = path.join(root, 'opt.gguf');
    await expect(exportGguf(opened, file)).rejects.toThrow(
      'the package cannot be exported to GGUF: llama.cpp has no models of the family opt',
    );
    expect(existsSync(file)).toBe(false);
    opened.close();
    const gelu = await openPackage(await packTinyModel('llama-gelu', path.join(root, 'gelu')));
    await expect(exportGguf(gelu, file)).rejects.toThrow('llama.cpp computes this family with silu');
    gelu.close();
    const odd = await openPackage(await packTinyModel('llama-plain', path.join(root, 'odd')));
    await expect(exportGguf(odd, file)).rejects.toThrow(
      "model.layers.0.mlp.down_proj cannot be exported: its 48 columns are no multiple of 32, GGUF's block",
    );
    // Another recipe would mend the scales, but not the width, which is the reason then.
    const scaled = await openPackage(
      await packTinyModel('llama-plain', path.join(root, 'scaled'), { transform: true }),
    );
    expect(scaled.readLinear('model.layers.0.self_attn.o_proj').columnScale).not.toBeNull();
    await expect(exportGguf(scaled, file)).rejects.toThrow('its 48 columns are no multiple of 32');
    scaled.close();
    writeFileSync(file, 'mine');
    await expect(exportGguf(odd, file)).rejects.toThrow('exists already');
    await expect(exportGguf(odd, path.join(root, 'no', 'x.gguf'))).rejects.toThrow('there is no such folder');
    await expect(exportGguf(odd, path.join(odd.path, 'x.gguf'))).rejects.toThrow(
      'lies inside of the package',
    );
    odd.close();
  });

  test('that is stopped leaves nothing', async () => {
    const model = tinyModelOfWidth64('qwen2', path.join(root, 'stop-model'), new SeededRandom(4));
    const opened = await openPackage(await packSymmetric(model, path.join(root, 'stop'), 2));
    const file = path.join(root, 'stopped.gguf');
    let asked = 0;
    await expect(
      exportGguf(opened, file, {
        stopRequested() {
          asked += 1;
          return asked > 20;
        },
      }),
    ).rejects.toThrow('stopped');
    expect(readdirSync(root).filter((name) => name.startsWith('stopped'))).toEqual([]);
    opened.close();
  });

  test('says what was rounded and how the context was cut', async () => {
    const model = tinyModelOfWidth64(
      'mistral-sliding-window',
      path.join(root, 'window-model'),
      new SeededRandom(4),
    );
    const opened = await openPackage(await packSymmetric(model, path.join(root, 'window'), 16));
    const { notes } = await exportGguf(opened, path.join(root, 'window.gguf'), { rounding: 'compact' });
    expect(notes).toHaveLength(2);
    expect(notes[0]).toBe(
      'the context is cut from 256 to 16: llama.cpp computes this family without its sliding window',
    );
    expect(notes[1]).toMatch(
      /^Q4_1 stores the smallest value of a block in fp16: weights are shifted by up to 0\.00\d+ of/,
    );
    opened.close();
  });
});

test('symmetric rounding is what the tests take it for', () => {
  const random = new SeededRandom(8);
  const weight = Float32Array.from({ length: 3 * 200 }, () => signedUniform(random));
  const linear = symmetricLinear('layer', weight, 3, 200, 16, null);
  const back = dequantize(linear);
  for (const [index, value] of weight.entries()) expect(Math.abs(value - back[index]!)).toBeLessThan(0.07);
});
