import { expect, test } from 'vitest';
import { threads } from '../../engine/native/index.ts';
import { numerics } from '../../engine/native/numerics.ts';
import { halfToNumber, numberToHalf } from '../../engine/quantize/reference/half-precision.ts';
import * as reference from '../../engine/quantize/reference/uniform-grid.ts';
import { hostileRows, randomFactor, randomWeight } from './numerics-inputs.ts';

const shapes = [
  [1, 1],
  [3, 43],
  [17, 129],
  [1, 130],
  [3, 136],
  [33, 200],
  [5, 300],
] as const;
const compensations = ['none', 'reference', 'block', 'column'] as const;

test('codes, scales and offsets equal the reference bit by bit, for every bit count, compensation and odd width', () => {
  for (const [outFeatures, inFeatures] of shapes) {
    const weight = randomWeight(outFeatures, inFeatures, 7 * inFeatures + outFeatures);
    const factor = randomFactor(inFeatures, inFeatures);
    for (const bits of [1, 2, 3, 4, 8])
      for (const compensation of compensations) {
        const options = { bits, compensation, blockSize: 128 };
        const native = numerics.quantizeUniform(weight, outFeatures, inFeatures, factor, options);
        const expected = reference.quantizeUniform(weight, outFeatures, inFeatures, factor, options);
        const label = `${outFeatures}×${inFeatures}, ${bits} bits, ${compensation}`;
        expect(native.scales, label).toEqual(expected.scales);
        expect(native.offsets, label).toEqual(expected.offsets);
        expect(native.codes, label).toEqual(expected.codes);
      }
  }
});

test('blocks of other sizes, also larger than the matrix, equal the reference', () => {
  const weight = randomWeight(6, 300, 3);
  const factor = randomFactor(300, 4);
  for (const blockSize of [1, 32, 64, 256, 1000]) {
    const options = { bits: 3, compensation: 'column', blockSize } as const;
    const native = numerics.quantizeUniform(weight, 6, 300, factor, options);
    expect(native).toMatchObject(reference.quantizeUniform(weight, 6, 300, factor, options));
    const levels = 8;
    expect(
      numerics.dequantizeGrid(native.codes, native.scales, native.offsets, levels, 6, 300, blockSize),
    ).toHaveLength(1800);
  }
});

test('the result does not depend on the number of threads', () => {
  const weight = randomWeight(200, 200, 11);
  const factor = randomFactor(200, 12);
  const options = { bits: 2, compensation: 'column', blockSize: 128 } as const;
  threads.setThreadCount(1);
  const single = numerics.quantizeUniform(weight, 200, 200, factor, options);
  threads.setThreadCount(3);
  const several = numerics.quantizeUniform(weight, 200, 200, factor, options);
  threads.setThreadCount(0);
  expect(several).toEqual(single);
});

test('hostile rows stay finite, constant rows give the constant and zero rows exactly zero', () => {
  for (const width of [1, 43, 128, 130])
    for (const bits of [1, 2, 3, 4, 8])
      for (const { name, row } of hostileRows(width)) {
        const levels = 2 ** bits;
        const options = { bits, compensation: 'none', blockSize: 128 } as const;
        const native = numerics.quantizeUniform(row, 1, width, null, options);
        expect(native.codes, name).toEqual(reference.quantizeUniform(row, 1, width, null, options).codes);
        const values = numerics.dequantizeGrid(native.codes, native.scales, native.offsets, levels, 1, width);
        const label = `${name}, width ${width}, ${bits} bits`;
        expect(values.every(Number.isFinite), label).toBe(true);
        const constant = row[0] as number;
        if (row.every((value) => value === constant) && Math.abs(constant) < 65504) {
          // Half a unit in the last place of fp16.
          const tolerance = Math.max(Math.abs(constant) * 2 ** -11, 2 ** -25);
          for (const value of values)
            expect(Math.abs(value - constant), label).toBeLessThanOrEqual(tolerance);
        }
        if (name === 'beyond fp16' && width > 1) expect(native.saturatedValues, label).toBeGreaterThan(0);
        if (name === 'one giant among dwarfs' && width === 128 && bits > 1)
          expect(Math.abs((values[64] as number) - 1e3), label).toBeLessThanOrEqual(10);
      }
});

test('zero is one of the levels from 2 bits on: exactly up to 4 bits, to within the rounding of the offset at 8', () => {
  const weight = randomWeight(8, 256, 31).map((value, index) => (index < 256 ? Math.abs(value) : value));
  for (const bits of [2, 3, 4, 8]) {
    const options = { bits, compensation: 'none', blockSize: 128 } as const;
    const native = numerics.quantizeUniform(weight, 8, 256, null, options);
    for (let block = 0; block < native.scales.length; block++) {
      const grid = { scale: native.scales[block] as number, offset: native.offsets[block] as number };
      const zero = reference.dequantizedWeight(reference.codeOf(0, grid, 2 ** bits), grid, 2 ** bits);
      const tolerance = bits <= 4 ? 0 : Math.abs(halfToNumber(grid.offset)) * 2 ** -11;
      expect(Math.abs(zero)).toBeLessThanOrEqual(tolerance);
    }
  }
});

test('every code is the nearest for the scale and offset that are stored', () => {
  const weight = randomWeight(4, 256, 21);
  for (const bits of [1, 2, 3, 4]) {
    const levels = 2 ** bits;
    const native = numerics.quantizeUniform(weight, 4, 256, null, {
      bits,
      compensation: 'none',
      blockSize: 128,
    });
    const values = numerics.dequantizeGrid(native.codes, native.scales, native.offsets, levels, 4, 256);
    for (let index = 0; index < weight.length; index++) {
      const block = Math.floor(index / 128);
      const grid = { scale: native.scales[block] as number, offset: native.offsets[block] as number };
      const distances = Array.from({ length: levels }, (_, code) =>
        Math.abs((weight[index] as number) - reference.dequantizedWeight(code, grid, levels)),
      );
      expect(Math.abs((weight[index] as number) - (values[index] as number))).toBeLessThanOrEqual(
        Math.min(...distances) * (1 + 1e-5) + 1e-9,
      );
    }
  }
});

test('a weight that is not finite is refused with its row and block', () => {
  const weight = randomWeight(40, 200, 5);
  weight[35 * 200 + 150] = Number.NaN;
  const quantize = () =>
    numerics.quantizeUniform(weight, 40, 200, null, { bits: 2, compensation: 'none', blockSize: 128 });
  expect(quantize).toThrow(/row 35 is not finite in the block of columns that begins at 128/);
  weight[35 * 200 + 150] = Number.NEGATIVE_INFINITY;
  expect(quantize).toThrow(/row 35 is not finite/);
});

test('arguments that contradict each other are refused by name', () => {
  const options = { bits: 2, compensation: 'none', blockSize: 128 } as const;
  expect(() => numerics.quantizeUniform(new Float32Array(5), 2, 3, null, options)).toThrow(
    'quantizeUniform: weight has 5 elements, but 6 are expected',
  );
  expect(() => numerics.quantizeUniform(new Float32Array(6), 2, 3, new Float32Array(8), options)).toThrow(
    'quantizeUniform: factor has 8 elements, but 9 are expected',
  );
  expect(() => numerics.quantizeUniform(new Float32Array(6), 2, 3, null, { ...options, bits: 9 })).toThrow(
    'quantizeUniform: bits must be an integer from 1 to 8',
  );
  const unknown = { ...options, compensation: 'sideways' as 'none' };
  expect(() => numerics.quantizeUniform(new Float32Array(6), 2, 3, null, unknown)).toThrow(
    'quantizeUniform: compensation sideways is unknown',
  );
});

test('dequantized grids are scale · (code − centre) + offset in float32', () => {
  const scales = Uint16Array.of(numberToHalf(0.1), numberToHalf(-3), numberToHalf(6e-8), numberToHalf(65504));
  const offsets = Uint16Array.of(numberToHalf(0.37), numberToHalf(0), numberToHalf(-1e-7), numberToHalf(1));
  const codes = Uint8Array.from({ length: 2 * 130 }, (_, index) => index % 3);
  for (const given of [offsets, null]) {
    const values = numerics.dequantizeGrid(codes, scales, given, 3, 2, 130);
    values.forEach((value, index) => {
      const block = Math.floor(index / 130) * 2 + (index % 130 >= 128 ? 1 : 0);
      const product = Math.fround(halfToNumber(scales[block] as number) * ((codes[index] as number) - 1));
      expect(value).toBe(
        given === null ? product : Math.fround(product + halfToNumber(given[block] as number)),
      );
    });
  }
});
