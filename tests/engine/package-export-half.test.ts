import { existsSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { openModel } from '../../engine/model/open.ts';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import { packing } from '../../engine/native/packing.ts';
import { exportGguf } from '../../engine/package/export-gguf.ts';
import { halfValues } from '../../engine/package/export-gguf-half.ts';
import { openPackage } from '../../engine/package/open.ts';
import { packSymmetric, tinyModelOfWidth64 } from './package-export-support.ts';
import { packTinyModel } from './package-support.ts';

const root = mkdtempSync(path.join(tmpdir(), 'dbell-export-half-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** As fp16 holds them, −0 as 0. */
const asHalfs = (values: Float32Array) =>
  packing.halfsToFloats(packing.floatsToHalfs(values).halfs).map((value) => value + 0);

test.each([
  ['llama-plain', { transform: true }],
  ['llama-untied', { embeddingBits: 4 }],
  ['llama-attention-bias', {}],
  ['qwen2', { embeddingBits: 8 }],
  ['qwen3', { transform: true, embeddingBits: 6 }],
] as const)('%s with %o, dequantized, is the package as fp16 holds it', async (name, options) => {
  const out = path.join(root, `${name}-${JSON.stringify(options).length}`);
  const opened = await openPackage(await packTinyModel(name, out, options));
  const file = `${out}.gguf`;
  // No block of GGUF fills rows of 48 columns; 16 bits a weight need none.
  await expect(exportGguf(opened, file)).rejects.toThrow('no multiple of 32');
  await expect(exportGguf(opened, file, { weights: 'f16', rounding: 'compact' })).rejects.toThrow(
    'rounding compact chooses among types with blocks',
  );
  const fractions: number[] = [];
  const { types, notes } = await exportGguf(opened, file, {
    weights: 'f16',
    onProgress: (fraction) => fractions.push(fraction),
  });
  expect(Object.keys(types).sort()).toEqual(['F16', 'F32']);
  expect(fractions.at(-1)).toBe(1);
  expect(notes[0]).toContain('not its size');
  const gguf = await openModel(file);
  const packed = opened.asModelSource();
  expect([...gguf.tensors.keys()].sort()).toEqual([...packed.tensors.keys()].sort());
  let isRounded = false;
  for (const [tensor, { storedType }] of gguf.tensors) {
    const ours = packed.readFloat32(tensor);
    const expected = storedType === 'F16' ? asHalfs(ours) : ours.map((value) => value + 0);
    isRounded ||= expected.some((value, index) => value !== ours[index]! + 0);
    expect(
      gguf.readFloat32(tensor).map((value) => value + 0),
      tensor,
    ).toEqual(expected);
  }
  expect(notes.some((note) => note.startsWith('weights were rounded to fp16'))).toBe(isRounded);
  if (isRounded) {
    const exact = exportGguf(opened, `${out}-exact.gguf`, { weights: 'f16', rounding: 'exact' });
    await expect(exact).rejects.toThrow(
      /in 16 bits exactly: weights would be rounded to fp16, by up to 0\.000/,
    );
    expect(existsSync(`${out}-exact.gguf`)).toBe(false);
  }
  gguf.close();
  opened.close();
});

test('two levels are exact in 16 bits, and what killed processes left of such a file is cleared away', async () => {
  const model = tinyModelOfWidth64('llama-plain', path.join(root, 'model'), new SeededRandom(4));
  const opened = await openPackage(await packSymmetric(model, path.join(root, 'binary'), 2));
  const file = path.join(root, 'binary.gguf');
  // A process that was killed an hour ago while it wrote the same file, and one that may write on another computer.
  const long = new Date(Date.now() - 3600_000);
  const abandoned = `${file}.999999999.dbell-tmp`;
  const own = `${file}.${process.ppid}.dbell-tmp`;
  const fresh = `${file}.999999998.dbell-tmp`;
  for (const name of [abandoned, own, fresh]) writeFileSync(name, 'x');
  for (const name of [abandoned, own]) utimesSync(name, long, long);
  const { notes } = await exportGguf(opened, file, { weights: 'f16', rounding: 'exact' });
  expect(notes).toHaveLength(1);
  expect([abandoned, own, fresh].map((name) => existsSync(name))).toEqual([false, true, true]);
  opened.close();
});

test('what fp16 does to values is told, and what it cannot hold is refused', () => {
  expect(halfValues('w', Float32Array.of(0, -0, 1, -0.5, 65504, 2 ** -24)).largestRounding).toBe(0);
  expect(halfValues('w', Float32Array.of(1, 1 + 2 ** -12)).largestRounding).toBeCloseTo(2 ** -12, 6);
  // Below the smallest normal number steps no longer shrink with the value.
  expect(halfValues('w', Float32Array.of(2 ** -26)).largestRounding).toBe(2 ** -12);
  expect(() => halfValues('model.w', Float32Array.of(1, -70000))).toThrow(
    'model.w cannot be exported: its value -70000 exceeds fp16',
  );
});
