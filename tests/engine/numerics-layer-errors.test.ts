import { expect, test } from 'vitest';
import { threads } from '../../engine/native/index.ts';
import { numerics } from '../../engine/native/numerics.ts';
import { randomHessian, randomWeight } from './numerics-inputs.ts';

test('layer errors equal the plain sums', () => {
  for (const [outFeatures, inFeatures] of [
    [1, 1],
    [3, 43],
    [65, 130],
    [2, 200],
  ] as const) {
    const weight = randomWeight(outFeatures, inFeatures, inFeatures);
    const quantized = weight.map((value, index) => value + 0.01 * Math.sin(index + 1));
    const hessian = randomHessian(inFeatures, 60, 5);
    const expected = { weightedError: 0, weightedNorm: 0, squaredError: 0, squaredNorm: 0 };
    for (let i = 0; i < outFeatures; i++)
      for (let j = 0; j < inFeatures; j++) {
        const w = weight[i * inFeatures + j] as number;
        const d = w - (quantized[i * inFeatures + j] as number);
        expected.squaredNorm += w * w;
        expected.squaredError += d * d;
        for (let k = 0; k < inFeatures; k++) {
          const h = hessian[j * inFeatures + k] as number;
          const other = weight[i * inFeatures + k] as number;
          expected.weightedNorm += w * h * other;
          expected.weightedError += d * h * (other - (quantized[i * inFeatures + k] as number));
        }
      }
    const native = numerics.layerErrors(weight, quantized, hessian, outFeatures, inFeatures);
    for (const key of Object.keys(expected) as (keyof typeof expected)[])
      expect(Math.abs(native[key] / expected[key] - 1), key).toBeLessThan(1e-10);
    threads.setThreadCount(1);
    expect(numerics.layerErrors(weight, quantized, hessian, outFeatures, inFeatures)).toEqual(native);
    threads.setThreadCount(0);
  }
});

test('a weight that is kept has no error', () => {
  const weight = randomWeight(4, 130, 1);
  const errors = numerics.layerErrors(weight, weight, randomHessian(130, 10, 2), 4, 130);
  expect(errors.weightedError).toBe(0);
  expect(errors.squaredError).toBe(0);
  expect(errors.squaredNorm).toBeGreaterThan(0);
});

test('float32 values are added to float64 sums in place', () => {
  const accumulator = Float64Array.from({ length: 70_001 }, (_, index) => index / 3);
  const expected = accumulator.map((value, index) => value + Math.fround(index * 0.1));
  numerics.addToFloat64(
    accumulator,
    Float32Array.from({ length: 70_001 }, (_, index) => index * 0.1),
  );
  expect(accumulator).toEqual(expected);
  expect(() => numerics.addToFloat64(accumulator, new Float32Array(5))).toThrow(
    'addToFloat64: addend has 5 elements, but 70001 are expected',
  );
});

test('a product in float64 equals the plain sums, whatever the threads', () => {
  for (const [rows, inner, columns] of [
    [1, 1, 1],
    [3, 43, 130],
    [129, 7, 65],
    [65, 300, 1],
  ] as const) {
    const left = randomWeight(rows, inner, rows);
    const right = Float64Array.from(randomWeight(inner, columns, columns), (value) => value / 3);
    const product = numerics.multiply(left, right, rows, inner, columns);
    for (let i = 0; i < rows; i++)
      for (let j = 0; j < columns; j++) {
        let expected = 0;
        for (let k = 0; k < inner; k++)
          expected += (left[i * inner + k] as number) * (right[k * columns + j] as number);
        expect(Math.abs((product[i * columns + j] as number) - expected)).toBeLessThan(1e-14 * inner);
      }
    threads.setThreadCount(1);
    expect(numerics.multiply(left, right, rows, inner, columns)).toEqual(product);
    threads.setThreadCount(0);
  }
  expect(numerics.multiply(new Float32Array(0), new Float64Array(0), 0, 0, 0)).toEqual(new Float64Array(0));
  expect(() => numerics.multiply(new Float32Array(2), new Float64Array(2), 1, 2, 2)).toThrow(
    'multiply: right has 2 elements, but 4 are expected',
  );
});
