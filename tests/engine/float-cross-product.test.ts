import { afterAll, expect, test } from 'vitest';
import { CrossProducts } from '../../engine/float/cross-product.ts';
import { toMatrix } from '../reference/float-block.ts';
import { randomNumbers, relativeMaximumError } from './float-tiny-model.ts';

const crossProducts = new CrossProducts(2);
afterAll(() => crossProducts.close());

test.each([
  [1, 1, 1, false, false],
  [5, 3, 7, true, false],
  [43, 130, 19, true, true],
  [130, 43, 64, false, true],
])(
  'cross products of %i and %i columns over windows of %i tokens equal the plain sums',
  async (leftSize, rightSize, rows, difference, weighted) => {
    const random = randomNumbers(leftSize + rightSize);
    const values = (columns: number): Float32Array => Float32Array.from({ length: rows * columns }, random);
    const accumulator = crossProducts.accumulator(leftSize, rightSize);
    const product = new Float64Array(leftSize * rightSize);
    const leftSum = new Float64Array(leftSize);
    const rightSum = new Float64Array(rightSize);
    for (let window = 0; window < 3; window++) {
      const left = values(leftSize);
      const minus = difference ? values(leftSize) : null;
      const right = values(rightSize);
      // Some tokens weigh nothing.
      const tokenWeights = weighted
        ? Float32Array.from({ length: rows }, (_, row) => (row % 3 === 0 ? 0 : 1 + random()))
        : null;
      await accumulator.add({ left, minus, right, tokenWeights }, 'a test');
      const rightRows = toMatrix(right, rightSize);
      for (let row = 0; row < rows; row++) {
        const weight = tokenWeights?.[row] ?? 1;
        for (let i = 0; i < leftSize; i++) {
          const a = weight * (left[row * leftSize + i]! - (minus?.[row * leftSize + i] ?? 0));
          leftSum[i]! += a;
          for (let j = 0; j < rightSize; j++) product[i * rightSize + j]! += a * rightRows[row]![j]!;
        }
        for (let j = 0; j < rightSize; j++) rightSum[j]! += weight * rightRows[row]![j]!;
      }
    }
    expect(relativeMaximumError(accumulator.product, product)).toBeLessThan(1e-6);
    expect(relativeMaximumError(accumulator.leftSum, leftSum)).toBeLessThan(1e-6);
    expect(relativeMaximumError(accumulator.rightSum, rightSum)).toBeLessThan(1e-6);
  },
);

test('a product that leaves the range of float32 is refused with its place', async () => {
  const accumulator = crossProducts.accumulator(2, 1);
  const window = {
    left: Float32Array.of(1, 1e30),
    minus: null,
    right: Float32Array.of(1e30),
    tokenWeights: null,
  };
  await expect(accumulator.add(window, 'block 3: targets of mlp-out')).rejects.toThrow(
    /block 3: targets of mlp-out is Infinity at row 1 of 2, column 0/,
  );
});
