import { expect, test } from 'vitest';
import { threads } from '../../engine/native/index.ts';
import { numerics } from '../../engine/native/numerics.ts';
import { inverseCholeskyFactor } from '../../engine/quantize/reference/cholesky.ts';
import { randomHessian } from './numerics-inputs.ts';

const onePercent = { damping: 0.01, maximumDamping: 1 };

/** H as it was factored: dead columns 1, then damped. */
function damped(hessian: Float64Array, size: number, damping: number): Float64Array {
  const result = hessian.slice();
  let mean = 0;
  for (let j = 0; j < size; j++) {
    if (result[j * size + j] === 0) result[j * size + j] = 1;
    mean += (result[j * size + j] as number) / size;
  }
  for (let j = 0; j < size; j++) result[j * size + j] = (result[j * size + j] as number) + damping * mean;
  return result;
}

/** max |(UᵀU)·H − I|. */
function residual(factor: Float32Array, hessian: Float64Array, size: number): number {
  const inverse = new Float64Array(size * size);
  for (let k = 0; k < size; k++)
    for (let i = k; i < size; i++)
      for (let j = k; j < size; j++)
        inverse[i * size + j] =
          (inverse[i * size + j] as number) +
          (factor[k * size + i] as number) * (factor[k * size + j] as number);
  let worst = 0;
  for (let i = 0; i < size; i++)
    for (let j = 0; j < size; j++) {
      let sum = i === j ? -1 : 0;
      for (let k = 0; k < size; k++)
        sum += (inverse[i * size + k] as number) * (hessian[k * size + j] as number);
      worst = Math.max(worst, Math.abs(sum));
    }
  return worst;
}

test('the factor equals the plain reference and inverts H, for sizes around the panel width', () => {
  for (const size of [1, 2, 43, 127, 128, 129, 200, 300]) {
    const hessian = randomHessian(size, 2 * size + 5, size);
    const { factor, dampingUsed, deadColumns } = numerics.inverseCholesky(hessian, size, onePercent);
    const expected = inverseCholeskyFactor(hessian, size, 0.01);
    if (factor === null || expected === null) throw new Error('not positive definite');
    const scale = Math.max(...expected.map(Math.abs));
    let worst = 0;
    for (let k = 0; k < factor.length; k++)
      worst = Math.max(worst, Math.abs((factor[k] as number) - (expected[k] as number)));
    expect(worst).toBeLessThanOrEqual(1e-6 * scale);
    expect(residual(factor, damped(hessian, size, 0.01), size)).toBeLessThan(2e-4);
    expect(dampingUsed).toBe(0.01);
    expect(deadColumns.every((dead) => dead === 0)).toBe(true);
  }
});

test('a rank-deficient H (one token, or fewer tokens than columns) is factored thanks to damping', () => {
  for (const tokens of [1, 5, 100]) {
    const hessian = randomHessian(150, tokens, tokens);
    const { factor, dampingUsed } = numerics.inverseCholesky(hessian, 150, onePercent);
    if (factor === null) throw new Error('not positive definite');
    expect(residual(factor, damped(hessian, 150, dampingUsed), 150)).toBeLessThan(1e-2);
  }
});

test('without damping a singular H raises it tenfold until it can be factored', () => {
  const hessian = randomHessian(140, 3, 9);
  const { factor, dampingUsed } = numerics.inverseCholesky(hessian, 140, { damping: 0, maximumDamping: 1 });
  expect(factor).not.toBeNull();
  expect(dampingUsed).toBeGreaterThan(0);
  expect(dampingUsed).toBeLessThanOrEqual(1e-6);
});

test('ill-conditioned H (nine orders of magnitude in its diagonal) stays accurate', () => {
  const size = 160;
  const hessian = randomHessian(size, 400, 77);
  for (let i = 0; i < size; i++)
    for (let j = 0; j < size; j++)
      hessian[i * size + j] = (hessian[i * size + j] as number) * 10 ** (((i % 10) + (j % 10)) / 2 - 4.5);
  const { factor, dampingUsed } = numerics.inverseCholesky(hessian, size, {
    damping: 1e-12,
    maximumDamping: 1,
  });
  const expected = inverseCholeskyFactor(hessian, size, 1e-12);
  if (factor === null || expected === null) throw new Error('not positive definite');
  expect(dampingUsed).toBe(1e-12);
  for (let i = 0; i < size; i++) {
    let worst = 0;
    let scale = 0;
    for (let j = i; j < size; j++) {
      scale = Math.max(scale, Math.abs(expected[i * size + j] as number));
      worst = Math.max(
        worst,
        Math.abs((factor[i * size + j] as number) - (expected[i * size + j] as number)),
      );
    }
    expect(worst / scale).toBeLessThan(1e-5);
  }
});

test('dead columns are reported and do not touch the others', () => {
  const dead = [0, 63, 128, 139];
  const hessian = randomHessian(140, 300, 3, dead);
  const { factor, deadColumns } = numerics.inverseCholesky(hessian, 140, onePercent);
  expect([...deadColumns.keys()].filter((j) => deadColumns[j] === 1)).toEqual(dead);
  if (factor === null) throw new Error('not positive definite');
  for (const j of dead)
    for (let i = 0; i < 140; i++)
      if (i !== j) {
        expect(Math.abs(factor[i * 140 + j] as number)).toBe(0);
        expect(Math.abs(factor[j * 140 + i] as number)).toBe(0);
      }
});

test('an all-zero H gives a scaled identity', () => {
  const { factor, deadColumns } = numerics.inverseCholesky(new Float64Array(130 * 130), 130, onePercent);
  if (factor === null) throw new Error('not positive definite');
  expect(deadColumns.every((dead) => dead === 1)).toBe(true);
  for (let i = 0; i < 130; i++)
    for (let j = 0; j < 130; j++)
      expect(Math.abs((factor[i * 130 + j] as number) - (i === j ? 1 / Math.sqrt(1.01) : 0))).toBeLessThan(
        1e-7,
      );
});

test('an H that is indefinite beyond the allowed damping, or not finite, gives no factor', () => {
  const indefinite = randomHessian(20, 50, 4);
  indefinite[3 * 20 + 4] = indefinite[4 * 20 + 3] = 1e6;
  expect(numerics.inverseCholesky(indefinite, 20, onePercent).factor).toBeNull();
  for (const poison of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
    for (const [i, j] of [
      [0, 0],
      [5, 5],
      [7, 2],
    ] as const) {
      const hessian = randomHessian(20, 50, 4);
      hessian[i * 20 + j] = hessian[j * 20 + i] = poison;
      expect(numerics.inverseCholesky(hessian, 20, onePercent).factor).toBeNull();
    }
});

test('values too large or too small for a float32 factor never come out as infinity or zero on the diagonal', () => {
  for (const scale of [1e-90, 1e-60, 1e60, 1e90]) {
    const hessian = randomHessian(12, 40, 8).map((value) => value * scale);
    const { factor } = numerics.inverseCholesky(hessian, 12, onePercent);
    if (factor === null) continue;
    for (let j = 0; j < 12; j++) expect(factor[j * 13]).toBeGreaterThan(0);
    expect(factor.every(Number.isFinite)).toBe(true);
  }
});

test('the factor does not depend on the number of threads', () => {
  const hessian = randomHessian(400, 410, 6);
  threads.setThreadCount(1);
  const single = numerics.inverseCholesky(hessian, 400, onePercent);
  threads.setThreadCount(4);
  const several = numerics.inverseCholesky(hessian, 400, onePercent);
  threads.setThreadCount(0);
  expect(several).toEqual(single);
});
