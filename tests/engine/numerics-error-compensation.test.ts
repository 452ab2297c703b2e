import { expect, test } from 'vitest';
import { numerics } from '../../engine/native/numerics.ts';
import { inverseCholeskyFactor } from '../../engine/quantize/reference/cholesky.ts';
import { compensateRow, errorOfBlock } from '../../engine/quantize/reference/error-compensation.ts';
import { randomHessian, randomWeight } from './numerics-inputs.ts';

/** (w − q) H (w − q)ᵀ for one row. */
function weightedError(difference: number[], hessian: Float64Array): number {
  const size = difference.length;
  let total = 0;
  for (let i = 0; i < size; i++)
    for (let j = 0; j < size; j++)
      total += (difference[i] as number) * (hessian[i * size + j] as number) * (difference[j] as number);
  return total;
}

test('`block` compensation is exact: nothing the columns behind the block could do lowers the error further', () => {
  const size = 60;
  const width = 24;
  const hessian = randomHessian(size, 200, 31);
  const factor = Float32Array.from(inverseCholeskyFactor(hessian, size, 0) ?? []);
  const weight = randomWeight(1, size, 32);
  const quantized = weight.slice(0, width).map((value) => Math.round(value * 8) / 8);

  const errorAfter = (kind: 'reference' | 'block'): { error: number; gradient: number } => {
    const error = Float32Array.from(quantized, (value, j) => (weight[j] as number) - value);
    errorOfBlock(error, factor, size, 0, kind);
    const row = weight.slice();
    compensateRow(row, error, factor, size, 0);
    const difference = [...weight].map(
      (value, j) => value - (j < width ? (quantized[j] as number) : (row[j] as number)),
    );
    // The error's derivative in the columns behind the block: zero at the least error.
    const gradients = Array.from({ length: size - width }, (_, k) =>
      difference.reduce((total, value, j) => total + value * (hessian[j * size + width + k] as number), 0),
    );
    return { error: weightedError(difference, hessian), gradient: Math.max(...gradients.map(Math.abs)) };
  };

  const block = errorAfter('block');
  const reference = errorAfter('reference');
  const untouched = weightedError(
    [...weight].map((value, j) => (j < width ? value - (quantized[j] as number) : 0)),
    hessian,
  );
  expect(block.gradient).toBeLessThan(1e-4 * reference.gradient);
  expect(block.error).toBeLessThan(reference.error);
  expect(block.error).toBeLessThan(untouched);
});

test('every compensation lowers the weighted error of a layer against plain rounding, `column` and `block` the most', () => {
  const outFeatures = 24;
  const inFeatures = 300;
  const hessian = randomHessian(inFeatures, 900, 51);
  const weight = randomWeight(outFeatures, inFeatures, 52);
  const { factor } = numerics.inverseCholesky(hessian, inFeatures, { damping: 0.01, maximumDamping: 1 });
  const errorOf = (compensation: 'none' | 'reference' | 'block' | 'column') => {
    const options = { bits: 3, compensation, blockSize: 128 };
    const { codes, scales, offsets } = numerics.quantizeUniform(
      weight,
      outFeatures,
      inFeatures,
      factor,
      options,
    );
    const quantized = numerics.dequantizeGrid(codes, scales, offsets, 8, outFeatures, inFeatures);
    return numerics.layerErrors(weight, quantized, hessian, outFeatures, inFeatures).weightedError;
  };
  expect(errorOf('block')).toBeLessThan(errorOf('none'));
  expect(errorOf('block')).toBeLessThan(errorOf('reference'));
  expect(errorOf('column')).toBeLessThan(errorOf('block'));
});
