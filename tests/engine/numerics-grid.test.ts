import { expect, test } from 'vitest';
import { threads } from '../../engine/native/index.ts';
import { type GridFit, type GridFitOptions, numerics } from '../../engine/native/numerics.ts';
import {
  gridFitDefaults,
  hostileRows,
  normalNumbers,
  randomHessian,
  randomWeight,
} from './numerics-inputs.ts';

const defaults: GridFitOptions = gridFitDefaults;
const allLevels = [2, 3, 4, 8, 16] as const;

/** Ŵ from what is stored. */
function dequantize(fit: GridFit, levels: number, outFeatures: number, inFeatures: number): Float32Array {
  const { codes, scales, columnScale } = fit;
  const weight = numerics.dequantizeGrid(codes, scales, null, levels, outFeatures, inFeatures);
  return columnScale === null
    ? weight
    : weight.map((value, index) => value * (columnScale[index % inFeatures] as number));
}

function damped(hessian: Float64Array, size: number, damping: number): Float64Array {
  const result = hessian.slice();
  let mean = 0;
  for (let j = 0; j < size; j++) mean += (hessian[j * size + j] as number) / size;
  for (let j = 0; j < size; j++) result[j * size + j] = (result[j * size + j] as number) + damping * mean;
  return result;
}

test('the loss falls with every round, and is the weighted error of what is stored', () => {
  const [outFeatures, inFeatures] = [33, 150];
  const hessian = randomHessian(inFeatures, 400, 1);
  const weight = randomWeight(outFeatures, inFeatures, 2);
  for (const levels of allLevels)
    for (const columnScale of ['free', 'none'] as const) {
      const fit = numerics.fitGrid(weight, hessian, outFeatures, inFeatures, {
        ...defaults,
        levels,
        columnScale,
      });
      const losses = [fit.startLoss, ...fit.losses];
      for (let round = 1; round < losses.length; round++)
        expect(losses[round]).toBeLessThan(losses[round - 1] as number);
      expect(Math.max(...fit.codes)).toBe(levels - 1);
      const quantized = dequantize(fit, levels, outFeatures, inFeatures);
      const metric = damped(hessian, inFeatures, 0.01);
      const errors = numerics.layerErrors(weight, quantized, metric, outFeatures, inFeatures);
      expect(fit.loss / errors.weightedError).toBeCloseTo(1, 4);
      // The last sweep about makes up for the rounding of r.
      expect(fit.loss).toBeLessThan(1.001 * (fit.losses.at(-1) as number));
    }
});

test('at the same bits the loss is far below that of GPTQ', () => {
  const [outFeatures, inFeatures] = [48, 160];
  const hessian = randomHessian(inFeatures, 500, 31);
  const normal = normalNumbers(32);
  const weight = Float32Array.from({ length: outFeatures * inFeatures }, () => 0.05 * normal());
  const { factor } = numerics.inverseCholesky(hessian, inFeatures, { damping: 0.01, maximumDamping: 1 });
  const metric = damped(hessian, inFeatures, 0.01);
  for (const [levels, bits, share] of [
    [2, 1, 0.65],
    [4, 2, 0.5],
    [8, 3, 0.75],
    [16, 4, 0.9],
  ] as const) {
    const fit = numerics.fitGrid(weight, hessian, outFeatures, inFeatures, { ...defaults, levels });
    const gptq = numerics.quantizeUniform(weight, outFeatures, inFeatures, factor, {
      bits,
      compensation: 'column',
      blockSize: 128,
    });
    const quantized = numerics.dequantizeGrid(
      gptq.codes,
      gptq.scales,
      gptq.offsets,
      levels,
      outFeatures,
      inFeatures,
    );
    const { weightedError } = numerics.layerErrors(weight, quantized, metric, outFeatures, inFeatures);
    expect(fit.loss, `${levels} levels`).toBeLessThan(share * weightedError);
  }
});

test('the result does not depend on the number of threads', () => {
  const [outFeatures, inFeatures] = [70, 140];
  const hessian = randomHessian(inFeatures, 300, 3);
  const weight = randomWeight(outFeatures, inFeatures, 4);
  threads.setThreadCount(1);
  const single = numerics.fitGrid(weight, hessian, outFeatures, inFeatures, defaults);
  threads.setThreadCount(3);
  const several = numerics.fitGrid(weight, hessian, outFeatures, inFeatures, defaults);
  threads.setThreadCount(0);
  expect(several).toEqual(single);
});

test('hostile rows and any width stay finite, zero rows exactly zero', () => {
  for (const inFeatures of [1, 2, 43, 130]) {
    const hessian = randomHessian(inFeatures, 2 * inFeatures, 5, inFeatures > 2 ? [1] : []);
    for (const { name, row } of hostileRows(inFeatures)) {
      if (name === 'at the edge of float32') continue;
      for (const levels of allLevels)
        for (const columnScale of ['free', 'none'] as const) {
          const fit = numerics.fitGrid(row, hessian, 1, inFeatures, { ...defaults, levels, columnScale });
          const label = `${name}, width ${inFeatures}, ${levels} levels, c ${columnScale}`;
          const values = dequantize(fit, levels, 1, inFeatures);
          expect(values.every(Number.isFinite), label).toBe(true);
          expect(Number.isFinite(fit.loss), label).toBe(true);
          if (row.every((value) => value === 0))
            expect(
              values.every((value) => value === 0),
              label,
            ).toBe(true);
        }
    }
  }
});

test('what is not finite or too large is refused with its place', () => {
  const hessian = randomHessian(8, 20, 6);
  const weight = randomWeight(3, 8, 7);
  const fit = () => numerics.fitGrid(weight, hessian, 3, 8, defaults);
  weight[2 * 8 + 5] = Number.NaN;
  expect(fit).toThrow('the target in row 2, column 5 is not finite or larger than 1e15');
  weight[2 * 8 + 5] = 3e38;
  expect(fit).toThrow('the target in row 2, column 5');
  weight[2 * 8 + 5] = 0;
  hessian[4 * 8 + 2] = Number.POSITIVE_INFINITY;
  expect(fit).toThrow('H has a value in row 4 that is not finite');
});

test('targets solve (P + λW) = W̃(H + λI) in float64', () => {
  const [outFeatures, inFeatures] = [37, 150];
  const hessian = randomHessian(inFeatures, 100, 8);
  const weight = randomWeight(outFeatures, inFeatures, 9);
  const crossProduct = Float64Array.from(randomWeight(outFeatures, inFeatures, 10));
  for (const product of [crossProduct, Float32Array.from(crossProduct)]) {
    const { target, dampingUsed } = numerics.solveTargets(weight, product, hessian, outFeatures, inFeatures, {
      damping: 0.05,
      maximumDamping: 1,
    });
    expect(dampingUsed).toBe(0.05);
    if (target === null) throw new Error('no target');
    const metric = damped(hessian, inFeatures, 0.05);
    const added = (metric[0] as number) - (hessian[0] as number);
    for (let i = 0; i < outFeatures; i++)
      for (let j = 0; j < inFeatures; j++) {
        let sum = 0;
        for (let k = 0; k < inFeatures; k++)
          sum += (target[i * inFeatures + k] as number) * (metric[k * inFeatures + j] as number);
        const wanted =
          (product[i * inFeatures + j] as number) + added * (weight[i * inFeatures + j] as number);
        expect(Math.abs(sum - wanted)).toBeLessThan(1e-4);
      }
  }
});
