import { expect, test } from 'vitest';
import { threads } from '../../engine/native/index.ts';
import { numerics } from '../../engine/native/numerics.ts';
import { halfToNumber } from '../../engine/quantize/reference/half-precision.ts';
import * as reference from '../../engine/quantize/reference/structured-binarization.ts';
import { hostileRows, randomFactor, randomWeight, uniformNumbers } from './numerics-inputs.ts';

const plain: reference.StructuredOptions = {
  importance: 'hessian',
  searchOn: 'weight',
  maximumSalientColumns: 49,
  splitPercentiles: { first: 10, last: 90, count: 81 },
  percentilesOver: 'non-salient',
  compensation: 'block',
  blockSize: 128,
};

function compare(
  weight: Float32Array,
  outFeatures: number,
  inFeatures: number,
  factor: Float32Array | null,
  options: reference.StructuredOptions,
  label: string,
) {
  const native = numerics.quantizeStructured(weight, outFeatures, inFeatures, factor, options);
  const expected = reference.quantizeStructured(weight, outFeatures, inFeatures, factor, options);
  expect(native.salientColumns, label).toEqual(expected.salientColumns);
  expect(native.levels, label).toEqual(expected.levels);
  expect(native.codes, label).toEqual(expected.codes);
  return { native, expected };
}

test('codes, levels and salient columns equal the reference bit by bit for every variant', () => {
  const weight = randomWeight(5, 136, 41);
  const factor = randomFactor(136, 42);
  for (const importance of ['hessian', 'magnitude'] as const)
    for (const searchOn of ['importance', 'weight', 'weighted-weight'] as const)
      for (const percentilesOver of ['all-with-zeros', 'non-salient'] as const)
        for (const compensation of ['none', 'reference', 'block', 'column'] as const) {
          const options = { ...plain, importance, searchOn, percentilesOver, compensation };
          compare(weight, 5, 136, factor, options, JSON.stringify(options));
        }
});

test('odd widths and heights equal the reference', () => {
  for (const [outFeatures, inFeatures] of [
    [1, 1],
    [17, 1],
    [1, 2],
    [3, 43],
    [17, 129],
    [33, 130],
    [1, 200],
  ] as const) {
    const weight = randomWeight(outFeatures, inFeatures, inFeatures + 3);
    const factor = randomFactor(inFeatures, inFeatures + 4);
    compare(weight, outFeatures, inFeatures, factor, plain, `${outFeatures}×${inFeatures}`);
  }
});

test('other block sizes and candidate counts equal the reference', () => {
  const weight = randomWeight(4, 90, 8);
  const factor = randomFactor(90, 9);
  for (const blockSize of [1, 16, 64, 256])
    for (const maximumSalientColumns of [0, 1, 200])
      compare(
        weight,
        4,
        90,
        factor,
        { ...plain, blockSize, maximumSalientColumns, splitPercentiles: { first: 50, last: 50, count: 1 } },
        `blocks of ${blockSize}, at most ${maximumSalientColumns} salient`,
      );
});

/** Squared error of one set binarized with mean ± mean|v − mean|, in float64. */
function onceError(values: number[]): { rests: number[]; error: number } {
  const mean = values.reduce((total, value) => total + value, 0) / Math.max(1, values.length);
  const scale =
    values.reduce((total, value) => total + Math.abs(value - mean), 0) / Math.max(1, values.length);
  const rests = values.map((value) => value - mean - (value >= mean ? scale : -scale));
  return { rests, error: rests.reduce((total, rest) => total + rest * rest, 0) };
}

test('the salient count and the split chosen are the best of all, by brute force in float64', () => {
  for (let seed = 0; seed < 12; seed++) {
    const width = 6 + seed;
    const weight = randomWeight(3, width, 100 + seed);
    const options = { ...plain, compensation: 'none' as const };
    const native = numerics.quantizeStructured(weight, 3, width, null, options);
    const rows = [0, 1, 2].map((i) => [...weight.subarray(i * width, (i + 1) * width)]);
    const ranked = Array.from({ length: width }, (_, j) => j).sort((a, b) => {
      const score = (j: number) => rows.reduce((total, row) => total + (row[j] as number) ** 2, 0);
      return score(b) - score(a);
    });
    const salientError = (k: number) =>
      rows.reduce((total, row) => {
        const salient = ranked.slice(0, k).map((j) => row[j] as number);
        const rest = ranked.slice(k).map((j) => row[j] as number);
        return total + onceError(onceError(salient).rests).error + onceError(rest).error;
      }, 0);
    const chosen = native.salientColumns.reduce((total, salient) => total + salient, 0);
    const best = Math.min(...Array.from({ length: width - 1 }, (_, index) => salientError(index + 1)));
    expect(salientError(chosen)).toBeLessThanOrEqual(best * (1 + 1e-5));
    expect([...native.salientColumns.keys()].filter((j) => native.salientColumns[j] === 1)).toEqual(
      ranked.slice(0, chosen).sort((a, b) => a - b),
    );

    // Every threshold between two magnitudes is a possible split; the one chosen is the best of those the percentiles can reach.
    const ordinary = ranked.slice(chosen);
    const splitError = (inside: (value: number) => boolean) =>
      rows.reduce((total, row) => {
        const values = ordinary.map((j) => row[j] as number);
        return (
          total + onceError(values.filter(inside)).error + onceError(values.filter((v) => !inside(v))).error
        );
      }, 0);
    const magnitudes = rows
      .flatMap((row) => ordinary.map((j) => Math.abs(row[j] as number)))
      .sort((a, b) => a - b);
    let bestSplit = Number.POSITIVE_INFINITY;
    for (let percent = 10; percent <= 90; percent++) {
      const threshold = reference.quantile(magnitudes, percent / 100);
      bestSplit = Math.min(
        bestSplit,
        splitError((value) => Math.abs(value) <= threshold),
      );
    }
    const sparse = new Set<number>();
    rows.forEach((row, i) => {
      for (const j of ordinary) if ((native.codes[i * width + j] as number) & 2) sparse.add(row[j] as number);
    });
    expect(splitError((value) => !sparse.has(value))).toBeLessThanOrEqual(bestSplit * (1 + 1e-5));
  }
});

test('what is stored is what was meant: dequantized weights follow the layout and lie near the original', () => {
  const weight = randomWeight(17, 200, 5);
  const { native } = compare(weight, 17, 200, null, { ...plain, compensation: 'none' }, 'plain');
  const values = numerics.dequantizeStructured(native.codes, native.levels, native.salientColumns, 17, 200);
  let error = 0;
  let norm = 0;
  for (let i = 0; i < 17; i++)
    for (let j = 0; j < 200; j++) {
      const levels = [...native.levels.subarray((i * 2 + (j >> 7)) * 7, (i * 2 + (j >> 7)) * 7 + 7)].map(
        halfToNumber,
      );
      const level = (index: number) => levels[index] as number;
      const code = native.codes[i * 200 + j] as number;
      const signed = (bit: number, index: number) => (code & bit ? level(index) : -level(index));
      const expected = native.salientColumns[j]
        ? Math.fround(Math.fround(level(4) + signed(1, 5)) + signed(2, 6))
        : code & 2
          ? Math.fround(level(2) + signed(1, 3))
          : Math.fround(level(0) + signed(1, 1));
      expect(values[i * 200 + j]).toBe(expected);
      error += ((values[i * 200 + j] as number) - (weight[i * 200 + j] as number)) ** 2;
      norm += (weight[i * 200 + j] as number) ** 2;
    }
  expect(error / norm).toBeLessThan(0.2);
});

test('hostile rows stay finite, constant rows give the constant and zero rows exactly zero, alone and together', () => {
  for (const width of [1, 2, 43, 128, 130]) {
    const rows = hostileRows(width);
    const together = new Float32Array(rows.length * width);
    rows.forEach(({ row }, index) => {
      together.set(row, index * width);
    });
    for (const searchOn of ['importance', 'weight', 'weighted-weight'] as const)
      for (const percentilesOver of ['all-with-zeros', 'non-salient'] as const) {
        const options = { ...plain, searchOn, percentilesOver, compensation: 'none' as const };
        const all = compare(
          together,
          rows.length,
          width,
          null,
          options,
          `width ${width}, ${searchOn}`,
        ).native;
        const values = numerics.dequantizeStructured(
          all.codes,
          all.levels,
          all.salientColumns,
          rows.length,
          width,
        );
        expect(values.every(Number.isFinite)).toBe(true);
        rows.forEach(({ name, row }, index) => {
          const alone = compare(row, 1, width, null, options, name).native;
          const single = numerics.dequantizeStructured(
            alone.codes,
            alone.levels,
            alone.salientColumns,
            1,
            width,
          );
          const constant = row[0] as number;
          if (!row.every((value) => value === constant) || Math.abs(constant) >= 65504) return;
          const tolerance = constant === 0 ? 0 : Math.max(Math.abs(constant) * 2 ** -10, 2 ** -24);
          for (const result of [single, values.subarray(index * width, (index + 1) * width)])
            for (const value of result)
              expect(Math.abs(value - constant), `${name}, width ${width}`).toBeLessThanOrEqual(tolerance);
        });
      }
  }
});

test('the result does not depend on the number of threads', () => {
  const weight = randomWeight(150, 200, 11);
  const factor = randomFactor(200, 12);
  threads.setThreadCount(1);
  const single = numerics.quantizeStructured(weight, 150, 200, factor, plain);
  threads.setThreadCount(3);
  const several = numerics.quantizeStructured(weight, 150, 200, factor, plain);
  threads.setThreadCount(0);
  expect(several).toEqual(single);
});

test('weights that are not finite are refused, levels beyond fp16 are cut and counted', () => {
  const weight = randomWeight(3, 200, 5);
  weight[2 * 200 + 190] = Number.NaN;
  expect(() => numerics.quantizeStructured(weight, 3, 200, null, plain)).toThrow(
    /quantizeStructured: the weight in row 2 is not finite in the block of columns that begins at 128/,
  );
  const uniform = uniformNumbers(4);
  const large = Float32Array.from({ length: 256 }, () => 1e6 * (uniform() + 1));
  const { saturatedValues, codes, levels, salientColumns } = numerics.quantizeStructured(
    large,
    2,
    128,
    null,
    plain,
  );
  expect(saturatedValues).toBeGreaterThan(0);
  const values = numerics.dequantizeStructured(codes, levels, salientColumns, 2, 128);
  expect(values.every(Number.isFinite)).toBe(true);
});
