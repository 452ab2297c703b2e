import { expect, test } from 'vitest';
import { threads } from '../../engine/native/index.ts';
import { numerics } from '../../engine/native/numerics.ts';
import * as reference from '../../engine/quantize/reference/ltdb.ts';
import { hostileRows, randomWeight, uniformNumbers } from './numerics-inputs.ts';

const options: reference.LtdbOptions = {
  epsilon: 0.85,
  training: 'trained',
  learningRate: 0.01,
  maximumEpochs: 200,
  loss: 'l2',
  blockSize: 128,
};

function activationMaxima(size: number, seed: number): Float32Array {
  const uniform = uniformNumbers(seed);
  return Float32Array.from({ length: size }, () => 0.3 + 4 * uniform() * (uniform() < 0.05 ? 30 : 1));
}

function compare(
  weight: Float32Array,
  outFeatures: number,
  inFeatures: number,
  absMax: Float32Array,
  weightMaximum: Float32Array | null,
  given: reference.LtdbOptions,
  label: string,
) {
  const native = numerics.trainLtdb(weight, outFeatures, inFeatures, absMax, weightMaximum, given);
  const expected = reference.trainLtdb(weight, outFeatures, inFeatures, absMax, weightMaximum, given);
  expect([...native.epochs], label).toEqual(expected.blocks.map((block) => block.lossCurve.length));
  expect([...native.stoppedEarly], label).toEqual(expected.blocks.map((block) => Number(block.stoppedEarly)));
  expect([...native.keptStart], label).toEqual(expected.blocks.map((block) => Number(block.keptStart)));
  expect(native.lossCurves, label).toEqual(
    expected.blocks.map((block) => Float32Array.from(block.lossCurve)),
  );
  expect(native.scale, label).toEqual(expected.scale);
  return native;
}

test('the gradient of L_DTNP, through a and b too, equals finite differences', () => {
  const exact = (value: number) => value;
  for (const loss of ['l2', 'l1'] as const)
    for (const [outFeatures, columns] of [
      [1, 3],
      [5, 20],
      [17, 43],
    ] as const) {
      const weight = randomWeight(outFeatures, columns, columns);
      const rows = Array.from({ length: outFeatures }, (_, i) => [
        ...weight.subarray(i * columns, (i + 1) * columns),
      ]);
      const scale = [...activationMaxima(columns, 5)];
      const { gradient } = reference.ltdbLosses(rows, scale, loss, exact);
      const largest = Math.max(...gradient.map(Math.abs));
      gradient.forEach((value, j) => {
        const step = 1e-7 * (scale[j] as number);
        const lossAt = (offset: number) =>
          reference.ltdbLosses(
            rows,
            scale.map((one, k) => (k === j ? one + offset : one)),
            loss,
            exact,
          ).proportional;
        const difference = (lossAt(step) - lossAt(-step)) / (2 * step);
        expect(Math.abs(difference - value)).toBeLessThan(1e-4 * largest);
      });
    }
});

test('training equals the reference bit by bit: scales, loss curves and early stops, for odd widths and heights', () => {
  for (const [outFeatures, inFeatures] of [
    [1, 1],
    [3, 43],
    [17, 129],
    [1, 130],
    [40, 200],
  ] as const)
    for (const loss of ['l2', 'l1'] as const) {
      const weight = randomWeight(outFeatures, inFeatures, inFeatures);
      const absMax = activationMaxima(inFeatures, inFeatures);
      compare(
        weight,
        outFeatures,
        inFeatures,
        absMax,
        null,
        { ...options, loss },
        `${outFeatures}×${inFeatures}, ${loss}`,
      );
    }
});

test('the start is max|X|^ε / max|W|^(1 − ε), from own or shared maxima', () => {
  const weight = randomWeight(7, 150, 3);
  const absMax = activationMaxima(150, 4);
  const start = { ...options, training: 'start' } as const;
  const shared = Float32Array.from({ length: 150 }, (_, j) => 1 + j / 10);
  const native = compare(weight, 7, 150, absMax, shared, start, 'shared');
  expect(native.epochs.every((count) => count === 0)).toBe(true);
  native.scale.forEach((value, j) => {
    expect(value).toBeCloseTo((absMax[j] as number) ** 0.85 / (shared[j] as number) ** 0.15, 4);
  });
  compare(weight, 7, 150, absMax, null, start, 'own');
});

test('training lowers L_DTNP and stops once L_DTMD rises', () => {
  const weight = randomWeight(64, 128, 9);
  const absMax = activationMaxima(128, 9);
  const native = numerics.trainLtdb(weight, 64, 128, absMax, null, options);
  const curve = native.lossCurves[0] as Float32Array;
  expect(curve.length).toBe(native.epochs[0]);
  expect(Math.min(...curve)).toBeLessThan(curve[0] as number);
  if (native.stoppedEarly[0] === 0) expect(curve.length).toBe(200);
  else expect(curve.length).toBeLessThanOrEqual(200);
});

test('zero columns and dead activations get T = 1 and leave the other columns as they would be without them', () => {
  const outFeatures = 6;
  const weight = randomWeight(outFeatures, 40, 2);
  const absMax = activationMaxima(40, 2);
  for (let i = 0; i < outFeatures; i++) weight[i * 40 + 7] = 0;
  absMax[20] = 0;
  const native = compare(weight, outFeatures, 40, absMax, null, options, 'with dead columns');
  expect(native.scale[7]).toBe(1);
  expect(native.scale[20]).toBe(1);
  const alive = Array.from({ length: 40 }, (_, j) => j).filter((j) => j !== 7 && j !== 20);
  const smaller = numerics.trainLtdb(
    Float32Array.from({ length: outFeatures * 38 }, (_, index) => {
      const column = alive[index % 38] as number;
      return weight[Math.floor(index / 38) * 40 + column] as number;
    }),
    outFeatures,
    38,
    Float32Array.from(alive, (j) => absMax[j] as number),
    null,
    options,
  );
  expect(alive.map((j) => native.scale[j])).toEqual([...smaller.scale]);
});

test('hostile rows give finite scales that are not zero, and never a higher loss than the start', () => {
  for (const width of [1, 43, 130]) {
    const rows = hostileRows(width);
    const together = new Float32Array(rows.length * width);
    rows.forEach(({ row }, index) => {
      together.set(row, index * width);
    });
    const absMax = activationMaxima(width, 3);
    const cases = [
      ...rows.map(({ name, row }) => ({ name, weight: row })),
      { name: 'all', weight: together },
    ];
    for (const { name, weight } of cases) {
      const outFeatures = weight.length / width;
      const native = numerics.trainLtdb(weight, outFeatures, width, absMax, null, options);
      for (const value of native.scale) {
        expect(Number.isFinite(value), name).toBe(true);
        expect(Math.abs(value), name).toBeGreaterThanOrEqual(Math.fround(1e-5));
      }
    }
  }
});

test('a target next to zero (mean and width nearly equal) does not throw T away', () => {
  // Half of each row 0, half 1: a = b = 1/2, so t2 = a − b is zero up to rounding.
  const weight = Float32Array.from({ length: 4 * 64 }, (_, index) => (index % 2) + 1e-4 * (index % 7));
  const absMax = new Float32Array(64).fill(1);
  const native = compare(weight, 4, 64, absMax, null, options, 'target next to zero');
  for (const value of native.scale) expect(Math.abs(value)).toBeLessThan(100);
});

test('an absurd learning rate never makes things worse than the start', () => {
  const weight = randomWeight(5, 30, 12);
  const rows = Array.from({ length: 5 }, (_, i) => [...weight.subarray(i * 30, (i + 1) * 30)]);
  const absMax = activationMaxima(30, 12);
  for (const learningRate of [1, 100, 1e10, 1e38]) {
    const native = compare(weight, 5, 30, absMax, null, { ...options, learningRate }, `rate ${learningRate}`);
    const losses = reference.ltdbLosses(rows, [...native.scale], 'l2');
    expect(Math.fround(losses.proportional)).toBeLessThanOrEqual(
      (native.lossCurves[0] as Float32Array)[0] as number,
    );
  }
});

test('a loss that is not finite keeps the start of its block and leaves the other blocks alone', () => {
  const weight = randomWeight(3, 256, 6);
  weight[5] = 3e38;
  weight[6] = -3e38;
  const absMax = activationMaxima(256, 6);
  absMax[5] = absMax[6] = 1e6;
  const native = compare(weight, 3, 256, absMax, null, options, 'overflow');
  expect([...native.keptStart]).toEqual([1, 0]);
  const start = numerics.trainLtdb(weight, 3, 256, absMax, null, { ...options, training: 'start' });
  expect(native.scale.subarray(0, 128)).toEqual(start.scale.subarray(0, 128));
  expect(native.scale.subarray(128)).not.toEqual(start.scale.subarray(128));
});

test('inputs that are not finite are refused by name', () => {
  const weight = randomWeight(2, 5, 1);
  const ones = new Float32Array(5).fill(1);
  weight[7] = Number.NaN;
  expect(() => numerics.trainLtdb(weight, 2, 5, ones, null, options)).toThrow(
    'trainLtdb: the weight in row 1, column 2 is not finite',
  );
  weight[7] = 1;
  const absMax = ones.slice();
  absMax[3] = Number.NaN;
  expect(() => numerics.trainLtdb(weight, 2, 5, absMax, null, options)).toThrow(/max\|X\| of column 3/);
  expect(() => numerics.trainLtdb(weight, 2, 5, ones, absMax, options)).toThrow(/max\|W\| of column 3/);
});

test('the result does not depend on the number of threads', () => {
  const weight = randomWeight(30, 400, 15);
  const absMax = activationMaxima(400, 15);
  threads.setThreadCount(1);
  const single = numerics.trainLtdb(weight, 30, 400, absMax, null, options);
  threads.setThreadCount(3);
  const several = numerics.trainLtdb(weight, 30, 400, absMax, null, options);
  threads.setThreadCount(0);
  expect(several).toEqual(single);
});
