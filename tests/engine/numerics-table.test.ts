import { expect, test } from 'vitest';
import { threads } from '../../engine/native/index.ts';
import { numerics } from '../../engine/native/numerics.ts';
import { packing } from '../../engine/native/packing.ts';
import { halfToNumber } from '../../engine/quantize/reference/half-precision.ts';
import * as reference from '../../engine/quantize/reference/table.ts';
import { hostileRows, randomHessian, randomWeight } from './numerics-inputs.ts';

const bitCounts = [4, 6] as const;

/** A metric of mean diagonal 1 + λ and its factor. */
function randomMetric(size: number, seed: number, lambda: number) {
  const hessian = randomHessian(size, 2 * size, seed);
  let trace = 0;
  for (let column = 0; column < size; column++) trace += hessian[column * size + column] ?? 0;
  const metric = hessian.map((value) => (value * size) / trace);
  for (let column = 0; column < size; column++) metric[column * size + column]! += lambda;
  const { factor } = numerics.inverseCholesky(metric, size, { damping: 0, maximumDamping: 1 });
  return { metric: Float32Array.from(metric), factor };
}

/** W − Ŵ of one row. */
function errorOf(weights: Float32Array, codes: Uint8Array, scales: Uint16Array, bits: number): number[] {
  return Array.from(
    weights,
    (weight, j) =>
      weight - halfToNumber(scales[Math.floor(j / 32)] ?? 0) * ((codes[j] ?? 0) - 2 ** (bits - 1)),
  );
}

function metricError(error: number[], metric: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < error.length; i++)
    for (let j = 0; j < error.length; j++)
      sum += (error[i] ?? 0) * (metric[i * error.length + j] ?? 0) * (error[j] ?? 0);
  return sum;
}

test('codes and scales equal the reference bit by bit: rounded, from rounding and from left to right', () => {
  for (const [rows, columns] of [
    [1, 1],
    [3, 31],
    [17, 64],
    [70, 43],
    [5, 150],
    [2, 300],
  ] as const) {
    const table = randomWeight(rows, columns, 13 * columns + rows);
    const { metric, factor } = randomMetric(columns, columns, 0.1);
    for (const bits of bitCounts)
      for (const [label, m, u] of [
        ['rounded', null, null],
        ['from rounding', metric, null],
        ['from left to right', metric, factor],
      ] as const) {
        const options = { bits, sweeps: 2 };
        const native = numerics.quantizeTable(table, rows, columns, m, u, options);
        const expected = reference.quantizeTable(table, rows, columns, m, u, options);
        expect(native.codes, `${rows}×${columns}, ${bits} bits, ${label}`).toEqual(expected.codes);
        expect(native.scales, `${rows}×${columns}, ${bits} bits, ${label}`).toEqual(expected.scales);
      }
  }
});

test('the errors that are reported are those of what is stored', () => {
  const [rows, columns] = [9, 70];
  const table = randomWeight(rows, columns, 5);
  const { metric, factor } = randomMetric(columns, 6, 0.1);
  for (const bits of bitCounts) {
    const result = numerics.quantizeTable(table, rows, columns, metric, factor, { bits, sweeps: 3 });
    const packed = packing.packTable(result.codes, result.scales, rows, columns, bits);
    const values = packing.dequantizePackedTable(packed.lines, packed.scales, rows, columns, bits);
    let weighted = 0;
    let squared = 0;
    let norm = 0;
    for (let row = 0; row < rows; row++) {
      const range = [row * columns, (row + 1) * columns] as const;
      const stored = values.subarray(...range);
      const error = Array.from(table.subarray(...range), (weight, j) => weight - (stored[j] ?? 0));
      weighted += metricError(error, metric);
      norm += metricError(Array.from(table.subarray(...range)), metric);
      squared += error.reduce((sum, value) => sum + value * value, 0);
    }
    expect(Math.abs(result.metricError - weighted)).toBeLessThan(1e-4 * weighted);
    expect(Math.abs(result.metricNorm - norm)).toBeLessThan(1e-4 * norm);
    expect(Math.abs(result.squaredError - squared)).toBeLessThan(1e-4 * squared);
    expect(result.squaredError).toBeLessThan(result.squaredNorm);
  }
});

test('descent ends where no other code lowers the error, and where every scale is the best fp16 one', () => {
  const columns = 64;
  const table = randomWeight(4, columns, 8);
  const { metric, factor } = randomMetric(columns, 9, 0.05);
  for (const bits of bitCounts) {
    const result = numerics.quantizeTable(table, 4, columns, metric, factor, { bits, sweeps: 60 });
    for (let row = 0; row < 4; row++) {
      const weights = table.subarray(row * columns, (row + 1) * columns);
      const codes = result.codes.slice(row * columns, (row + 1) * columns);
      const scales = result.scales.slice(2 * row, 2 * row + 2);
      const least = metricError(errorOf(weights, codes, scales, bits), metric);
      const tolerance = 1e-5 * least;
      for (let j = 0; j < columns; j++) {
        const kept = codes[j] ?? 0;
        for (let code = 0; code < 2 ** bits; code++) {
          codes[j] = code;
          expect(metricError(errorOf(weights, codes, scales, bits), metric)).toBeGreaterThan(
            least - tolerance,
          );
        }
        codes[j] = kept;
      }
      for (let group = 0; group < 2; group++) {
        const kept = scales[group] ?? 0;
        for (const neighbour of [kept - 1, kept + 1]) {
          scales[group] = neighbour;
          expect(metricError(errorOf(weights, codes, scales, bits), metric)).toBeGreaterThan(
            least - tolerance,
          );
        }
        scales[group] = kept;
      }
    }
  }
});

test('sweeps only lower the error, and compensation is far below rounding', () => {
  const [rows, columns] = [40, 160];
  const table = randomWeight(rows, columns, 21);
  const { metric, factor } = randomMetric(columns, 22, 0.01);
  for (const bits of bitCounts) {
    const errorAfter = (m: Float32Array, u: Float32Array | null, sweeps: number) =>
      numerics.quantizeTable(table, rows, columns, m, u, { bits, sweeps }).metricError;
    const errors = [0, 1, 2, 3, 6].map((sweeps) => errorAfter(metric, factor, sweeps));
    for (let index = 1; index < errors.length; index++)
      expect(errors[index]).toBeLessThanOrEqual((errors[index - 1] ?? 0) * (1 + 1e-5));
    expect(errors[3]).toBeLessThan(0.7 * errorAfter(metric, null, 0));
  }
});

test('neither threads nor the rows beside it change a row', () => {
  const [rows, columns] = [200, 96];
  const table = randomWeight(rows, columns, 11);
  const { metric, factor } = randomMetric(columns, 12, 0.3);
  const options = { bits: 4, sweeps: 2 } as const;
  threads.setThreadCount(1);
  const single = numerics.quantizeTable(table, rows, columns, metric, factor, options);
  threads.setThreadCount(3);
  const several = numerics.quantizeTable(table, rows, columns, metric, factor, options);
  threads.setThreadCount(0);
  expect({ ...several, metricError: 0 }).toEqual({ ...single, metricError: 0 });
  expect(several.metricError).toBe(single.metricError);
  const alone = numerics.quantizeTable(
    table.slice(150 * columns, 151 * columns),
    1,
    columns,
    metric,
    factor,
    options,
  );
  expect(alone.codes).toEqual(single.codes.slice(150 * columns, 151 * columns));
});

test('hostile rows: zeros come back as zeros, what does not fit is named, everything else stays finite', () => {
  for (const width of [1, 31, 32, 70])
    for (const bits of bitCounts)
      for (const { name, row } of hostileRows(width)) {
        const label = `${name}, width ${width}, ${bits} bits`;
        const result = numerics.quantizeTable(row, 1, width, null, null, { bits, sweeps: 0 });
        const limit = 65504 * (2 ** (bits - 1) - 1);
        const unfit = row.findIndex((value) => !(Math.abs(value) <= limit));
        expect(result.firstOverflow, label).toBe(unfit);
        if (unfit !== -1) continue;
        const packed = packing.packTable(result.codes, result.scales, 1, width, bits);
        const values = packing.dequantizePackedTable(packed.lines, packed.scales, 1, width, bits);
        expect(values.every(Number.isFinite), label).toBe(true);
        expect(result, label).toMatchObject(
          reference.quantizeTable(row, 1, width, null, null, { bits, sweeps: 0 }),
        );
        if (row.every((value) => value === 0))
          expect(
            values.every((value) => value === 0),
            label,
          ).toBe(true);
      }
  const bad = Float32Array.of(1, Number.NaN, 2);
  expect(numerics.quantizeTable(bad, 1, 3, null, null, { bits: 4, sweeps: 0 }).firstOverflow).toBe(1);
});

test('arguments that do not fit are refused by name', () => {
  const table = new Float32Array(6);
  const call = (...changes: Partial<Record<string, unknown>>[]) => {
    const given = Object.assign({ rows: 2, columns: 3, metric: null, factor: null, bits: 4 }, ...changes);
    return () =>
      numerics.quantizeTable(table, given.rows, given.columns, given.metric, given.factor, {
        bits: given.bits,
        sweeps: 1,
      });
  };
  expect(call({ bits: 5 })).toThrow(/bits must be 4 or 6/);
  expect(call({ bits: 8 })).toThrow(/bits must be an integer from 4 to 6/);
  expect(call({ columns: 4 })).toThrow(/table has 6 elements, but 8 are expected/);
  expect(call({ metric: new Float32Array(8) })).toThrow(/metric has 8 elements, but 9 are expected/);
  expect(call({ metric: new Float32Array(9), factor: new Float32Array(1) })).toThrow(/factor has 1 elements/);
});

test('packed tables: every field comes back, padding is found', () => {
  for (const bits of bitCounts)
    for (const [rows, columns] of [
      [1, 1],
      [16, 32],
      [35, 70],
    ] as const) {
      const codes = Uint8Array.from({ length: rows * columns }, (_, index) => (7 * index) % 2 ** bits);
      const groups = Math.ceil(columns / 32);
      const scales = new Uint16Array(rows * groups).fill(0xbc00);
      const packed = packing.packTable(codes, scales, rows, columns, bits);
      const values = packing.dequantizePackedTable(packed.lines, packed.scales, rows, columns, bits);
      expect(values).toEqual(Float32Array.from(codes, (code) => -(code - 2 ** (bits - 1))));
      expect(packing.findTablePadding(packed.lines, rows, columns, bits)).toBeNull();
      if (rows % 16 === 0) continue;
      const damaged = packed.lines.slice();
      damaged[damaged.length - 1] = 0x80;
      expect(packing.findTablePadding(damaged, rows, columns, bits)).not.toBeNull();
    }
});
