import { expect, test } from 'vitest';
import { type GridFitOptions, numerics } from '../../engine/native/numerics.ts';
import * as reference from '../../engine/quantize/reference/grid-fit.ts';
import { type GridMetric, gridMetric } from '../../engine/quantize/reference/grid-layer.ts';
import { gridFitDefaults, hostileRows, randomHessian, randomWeight } from './numerics-inputs.ts';

/** The native grid fit against the plain one, bit by bit. */

const defaults = {
  ...gridFitDefaults,
  rounds: 2,
  residualColumns: 0,
  activations: null,
} satisfies GridFitOptions;

/** For more than 128 columns the order of sums in the factorization differs: U comes from the native code, which numerics-cholesky.test.ts checks by itself. */
function metricOf(hessian: Float64Array, size: number): GridMetric {
  const metric = gridMetric(hessian, size, defaults.damping);
  if (size <= 128) return metric;
  const damped = hessian.map((value, index) => {
    const mean = metric.lossScale;
    return (1 / mean) * value + (index % (size + 1) === 0 ? defaults.damping : 0);
  });
  return {
    ...metric,
    factor: numerics.inverseCholesky(damped, size, { damping: 0, maximumDamping: 0 }).factor,
  };
}

function expectEqual(
  target: Float32Array,
  hessian: Float64Array,
  outFeatures: number,
  inFeatures: number,
  changed: Partial<GridFitOptions>,
  label: string,
): void {
  const options = { ...defaults, ...changed };
  const native = numerics.fitGrid(target, hessian, outFeatures, inFeatures, options);
  const expected = reference.fitGrid(target, metricOf(hessian, inFeatures), outFeatures, inFeatures, {
    ...options,
    activations: options.activations ?? null,
    residualColumns: options.residualColumns ?? 0,
  });
  const { layer } = expected;
  const blocks = Math.ceil(inFeatures / options.blockSize);
  const part = <T extends Uint8Array | Uint16Array>(matrix: T, stride: number, from: number, to: number): T =>
    matrix.filter((_, index) => index % stride >= from && index % stride < to) as T;
  expect(native.startLoss / expected.startLoss || 1, label).toBeCloseTo(1, 9);
  expect(native.columnScale ?? layer.columnScale, label).toEqual(layer.columnScale.subarray(0, inFeatures));
  expect(native.scales, label).toEqual(part(expected.scales, layer.blocks.length, 0, blocks));
  expect(native.codes, label).toEqual(part(layer.codes, layer.columns, 0, inFeatures));
  if (native.residual !== null) {
    expect([...native.residual.columns], label).toEqual(layer.source.slice(inFeatures));
    expect(native.residual.codes, label).toEqual(part(layer.codes, layer.columns, inFeatures, layer.columns));
    expect(native.residual.scales, label).toEqual(
      part(expected.scales, layer.blocks.length, blocks, layer.blocks.length),
    );
  }
  expected.losses.forEach((loss, round) => {
    expect((native.losses[round] as number) / loss || 1, label).toBeCloseTo(1, 9);
  });
  expect(native.loss / expected.loss || 1, label).toBeCloseTo(1, 9);
}

test('codes, r and c equal the reference for every number of levels and odd shapes', () => {
  for (const [outFeatures, inFeatures] of [
    [1, 1],
    [3, 2],
    [5, 43],
    [35, 33],
  ] as const) {
    const hessian = randomHessian(inFeatures, 3 * inFeatures, inFeatures);
    const target = randomWeight(outFeatures, inFeatures, outFeatures);
    for (const levels of [2, 3, 4, 8, 16] as const)
      for (const columnScale of ['free', 'none'] as const)
        expectEqual(
          target,
          hessian,
          outFeatures,
          inFeatures,
          { levels, columnScale },
          `${outFeatures}×${inFeatures}, ${levels} levels, c ${columnScale}`,
        );
  }
});

test('several blocks equal the reference, also where the last is not full', () => {
  for (const [outFeatures, inFeatures, blockSize] of [
    [9, 200, 128],
    [4, 129, 128],
    [6, 100, 32],
    [34, 128, 128],
    [3, 150, 1000],
  ] as const) {
    const hessian = randomHessian(inFeatures, 2 * inFeatures, 3);
    const target = randomWeight(outFeatures, inFeatures, 4);
    expectEqual(
      target,
      hessian,
      outFeatures,
      inFeatures,
      { blockSize, columnScale: 'none' },
      `${inFeatures}`,
    );
    if (inFeatures <= 128)
      expectEqual(target, hessian, outFeatures, inFeatures, { blockSize }, `${inFeatures}, c`);
  }
});

test('residual columns and the cost of activation rounding equal the reference', () => {
  const [outFeatures, inFeatures] = [34, 50];
  const hessian = randomHessian(inFeatures, 200, 5);
  const target = randomWeight(outFeatures, inFeatures, 6);
  const activations = {
    inputs: randomWeight(70, inFeatures, 7),
    weights: new Float32Array(70).fill(30),
    bits: 6,
  };
  for (const levels of [2, 4] as const) {
    for (const residualColumns of [1, 9, 50])
      expectEqual(
        target,
        hessian,
        outFeatures,
        inFeatures,
        { levels, residualColumns, blockSize: 32 },
        'residual',
      );
    expectEqual(
      target,
      hessian,
      outFeatures,
      inFeatures,
      { levels, activations, rounds: levels },
      'activations',
    );
    expectEqual(
      target,
      hessian,
      outFeatures,
      inFeatures,
      { levels, activations, residualColumns: 9 },
      'both',
    );
  }
});

test('the cost of rounding by groups of columns equals the reference, whatever the widths of groups, blocks and the last of each', () => {
  for (const [outFeatures, inFeatures, blockSize, columnsPerStep] of [
    [34, 50, 32, 32],
    [5, 43, 16, 16],
    [9, 48, 16, 16],
    [7, 50, 32, 8],
    // Steps that tie blocks to each other.
    [7, 50, 16, 32],
    [7, 50, 16, 20],
    [3, 33, 32, 1],
    // A group that has all columns is what no group is.
    [6, 40, 16, 40],
    [6, 40, 16, 1000],
    [1, 1, 16, 16],
  ] as const) {
    const hessian = randomHessian(inFeatures, 200, 5);
    const target = randomWeight(outFeatures, inFeatures, 6);
    const inputs = randomWeight(70, inFeatures, 7);
    // A token of zeros, and one with a group of zeros.
    inputs.fill(0, 3 * inFeatures, 4 * inFeatures);
    inputs.fill(0, 40 * inFeatures, 40 * inFeatures + Math.min(inFeatures, columnsPerStep));
    const label = `${outFeatures}×${inFeatures}, blocks of ${blockSize}, steps of ${columnsPerStep}`;
    const activations = { inputs, weights: new Float32Array(70).fill(30), bits: 6, columnsPerStep };
    for (const levels of [2, 4] as const)
      for (const residualColumns of inFeatures > 9 ? [0, 9] : [0])
        expectEqual(
          target,
          hessian,
          outFeatures,
          inFeatures,
          { levels, blockSize, activations, residualColumns, rounds: levels },
          `${label}, ${levels} levels, ${residualColumns} residual columns`,
        );
    if (columnsPerStep < inFeatures) continue;
    const { columnsPerStep: _, ...byToken } = activations;
    const fitWith = (given: typeof byToken) =>
      numerics.fitGrid(target, hessian, outFeatures, inFeatures, {
        ...defaults,
        blockSize,
        activations: given,
      });
    expect(fitWith(activations)).toEqual(fitWith(byToken));
  }
});

test('hostile rows and dead columns equal the reference', () => {
  const inFeatures = 60;
  const rows = hostileRows(inFeatures).filter(({ name }) => name !== 'at the edge of float32');
  const target = new Float32Array(rows.length * inFeatures);
  rows.forEach(({ row }, index) => {
    target.set(row, index * inFeatures);
  });
  for (const hessian of [
    randomHessian(inFeatures, 100, 8, [0, 7, 59]),
    randomHessian(inFeatures, 5, 9),
    new Float64Array(inFeatures * inFeatures),
  ])
    for (const levels of [2, 3, 16] as const) {
      expectEqual(target, hessian, rows.length, inFeatures, { levels }, `${levels} levels`);
      expectEqual(
        target,
        hessian,
        rows.length,
        inFeatures,
        { levels, columnScale: 'none' },
        `${levels} levels, no c`,
      );
    }
});
