import { describe, expect, test } from 'vitest';
import { type GridFit, type GridFitOptions, numerics } from '../../engine/native/numerics.ts';
import {
  dequantizedLayer,
  descend,
  type GridFitOptions as ReferenceOptions,
  startGrid,
} from '../../engine/quantize/reference/grid-fit.ts';
import { at, type GridLayer, gridMetric } from '../../engine/quantize/reference/grid-layer.ts';
import {
  columnEquations,
  roundingPrices,
  rowEquations,
  solveColumnScale,
  solveRowScales,
} from '../../engine/quantize/reference/grid-scales.ts';
import { halfToNumber } from '../../engine/quantize/reference/half-precision.ts';
import { gridFitDefaults, normalNumbers, randomHessian, randomWeight } from './numerics-inputs.ts';

/** What a grid fit is a minimum of, found by trying: on tiny layers, with losses computed from nothing but Ŵ and H. */

const options = {
  ...gridFitDefaults,
  blockSize: 4,
  residualColumns: 0,
  activations: null,
} satisfies GridFitOptions;

/** tr((W̃ − Ŵ) H (W̃ − Ŵ)ᵀ). */
function lossOf(
  target: ArrayLike<number>,
  quantized: ArrayLike<number>,
  hessian: ArrayLike<number>,
  size: number,
): number {
  let loss = 0;
  for (let i = 0; i < target.length; i += size)
    for (let j = 0; j < size; j++)
      for (let k = 0; k < size; k++)
        loss +=
          (at(target, i + j) - at(quantized, i + j)) *
          at(hessian, j * size + k) *
          (at(target, i + k) - at(quantized, i + k));
  return loss;
}

const layerLoss = (layer: GridLayer) =>
  lossOf(layer.target, dequantizedLayer(layer), layer.hessian, layer.inFeatures);

/** A tiny layer behind its start; its H is damped and scaled. */
function tinyLayer(levels: number, outFeatures: number, inFeatures: number, seed: number): GridLayer {
  const hessian = randomHessian(inFeatures, 3 * inFeatures, seed);
  const metric = gridMetric(hessian, inFeatures, options.damping);
  const target = randomWeight(outFeatures, inFeatures, seed + 1);
  return startGrid(target, metric, outFeatures, inFeatures, { ...options, levels } as ReferenceOptions).layer;
}

test('coordinate descent ends where no change of a single code lowers the loss', () => {
  for (const levels of [2, 3, 4, 8, 16]) {
    const layer = tinyLayer(levels, 4, 10, levels);
    solveRowScales(layer, 0);
    descend(layer, 50);
    const reached = layerLoss(layer);
    for (let index = 0; index < layer.codes.length; index++) {
      const code = at(layer.codes, index);
      for (let other = 0; other < levels; other++) {
        layer.codes[index] = other;
        expect(layerLoss(layer)).toBeGreaterThan(reached * (1 - 1e-5));
      }
      layer.codes[index] = code;
    }
  }
});

test('without ridges r and c satisfy their normal equations, and no small change lowers the loss', () => {
  for (const levels of [2, 3, 4]) {
    const layer = tinyLayer(levels, 6, 10, 20 + levels);
    solveRowScales(layer, 0);
    const reached = layerLoss(layer);
    for (let row = 0; row < layer.outFeatures; row++) {
      const { matrix, right } = rowEquations(layer, row);
      const blocks = layer.blocks.length;
      for (let g = 0; g < blocks; g++) {
        let sum = 0;
        for (let h = 0; h < blocks; h++)
          sum += at(matrix, Math.max(g, h) * blocks + Math.min(g, h)) * at(layer.rowScale, row * blocks + h);
        expect(sum).toBeCloseTo(at(right, g), 5);
      }
    }
    for (let index = 0; index < layer.rowScale.length; index++)
      for (const change of [0.99, 1.01]) {
        const scale = at(layer.rowScale, index);
        layer.rowScale[index] = scale * change;
        expect(layerLoss(layer)).toBeGreaterThanOrEqual(reached * (1 - 1e-6));
        layer.rowScale[index] = scale;
      }

    solveColumnScale(layer, 0, null);
    const { matrix, right } = columnEquations(layer);
    const size = layer.inFeatures;
    for (let j = 0; j < size; j++) {
      let sum = 0;
      for (let k = 0; k < size; k++)
        sum += at(matrix, Math.max(j, k) * size + Math.min(j, k)) * at(layer.columnScale, k);
      expect(sum).toBeCloseTo(at(right, j), 4);
    }
    const solved = layerLoss(layer);
    expect(solved).toBeLessThanOrEqual(reached * (1 + 1e-6));
    for (let j = 0; j < size; j++)
      for (const change of [0.99, 1.01]) {
        const scale = at(layer.columnScale, j);
        layer.columnScale[j] = scale * change;
        expect(layerLoss(layer)).toBeGreaterThanOrEqual(solved * (1 - 1e-6));
        layer.columnScale[j] = scale;
      }
  }
});

test('c of each block has the geometric mean 1', () => {
  const layer = tinyLayer(4, 6, 10, 40);
  solveColumnScale(layer, 1e-3, null);
  for (const { first, width } of layer.blocks) {
    const part = layer.columnScale.subarray(first, first + width);
    expect(part.reduce((product, value) => product * value, 1)).toBeCloseTo(1, 4);
  }
});

/** Least loss of one row and one block over all codes, each with the best r. */
function exhaustive(target: Float32Array, hessian: Float32Array, size: number, levels: number): number {
  let least = Number.POSITIVE_INFINITY;
  for (let state = 0; state < levels ** size; state++) {
    const values = Float64Array.from(
      { length: size },
      (_, j) => (Math.floor(state / levels ** j) % levels) - (levels - 1) / 2,
    );
    let square = 0;
    let product = 0;
    for (let j = 0; j < size; j++)
      for (let k = 0; k < size; k++) {
        square += at(values, j) * at(hessian, j * size + k) * at(values, k);
        product += at(values, j) * at(hessian, j * size + k) * at(target, k);
      }
    const scale = square > 0 ? product / square : 0;
    least = Math.min(
      least,
      lossOf(
        target,
        values.map((value) => scale * value),
        hessian,
        size,
      ),
    );
  }
  return least;
}

test('a tiny row comes close to the best of all codes, and never below it', () => {
  const ratios: number[] = [];
  for (const [levels, size] of [
    [2, 9],
    [3, 6],
    [4, 5],
  ] as const)
    for (let seed = 0; seed < 8; seed++) {
      const hessian = randomHessian(size, 3 * size, 100 + seed);
      const target = randomWeight(1, size, 200 + seed);
      const metric = gridMetric(hessian, size, options.damping);
      const best = metric.lossScale * exhaustive(target, metric.hessian, size, levels);
      const fit = numerics.fitGrid(target, hessian, 1, size, {
        ...options,
        levels,
        blockSize: 128,
        columnScale: 'none',
      });
      expect(fit.loss).toBeGreaterThan(best * 0.999);
      ratios.push(fit.loss / best);
    }
  ratios.sort((a, b) => a - b);
  expect(ratios[Math.floor(ratios.length / 2)]).toBeLessThan(1.25);
});

/** Ŵ from what is stored, residual columns added. */
function stored(
  fit: GridFit,
  levels: number,
  outFeatures: number,
  inFeatures: number,
  blockSize: number,
): Float64Array {
  const c = (j: number) => fit.columnScale?.[j] ?? 1;
  const blocks = Math.ceil(inFeatures / blockSize);
  const weight = Float64Array.from(fit.codes, (code, index) => {
    const [i, j] = [Math.floor(index / inFeatures), index % inFeatures];
    return (
      c(j) * halfToNumber(at(fit.scales, i * blocks + Math.floor(j / blockSize))) * (code - (levels - 1) / 2)
    );
  });
  const { residual } = fit;
  const count = residual?.columns.length ?? 0;
  for (let i = 0; i < outFeatures; i++)
    residual?.columns.forEach((j, k) => {
      const scale = at(residual.scales, i * Math.ceil(count / blockSize) + Math.floor(k / blockSize));
      weight[i * inFeatures + j] =
        at(weight, i * inFeatures + j) +
        c(j) * halfToNumber(scale) * (at(residual.codes, i * count + k) - 0.5);
    });
  return weight;
}

test('residual columns lower the loss of what is stored, the more of them the more, and most where they promise most', () => {
  const [outFeatures, inFeatures] = [24, 60];
  const hessian = randomHessian(inFeatures, 200, 61);
  const target = randomWeight(outFeatures, inFeatures, 62);
  const metric = gridMetric(hessian, inFeatures, options.damping);
  for (const levels of [2, 4] as const) {
    const losses = [0, 6, 20, 60].map((residualColumns) => {
      const changed = { ...options, levels, blockSize: 16, residualColumns };
      const fit = numerics.fitGrid(target, hessian, outFeatures, inFeatures, changed);
      const quantized = stored(fit, levels, outFeatures, inFeatures, 16);
      const loss = metric.lossScale * lossOf(target, quantized, metric.hessian, inFeatures);
      expect(fit.loss / loss).toBeCloseTo(1, 4);
      return loss;
    });
    expect(losses[1]).toBeLessThan(at(losses, 0) * 0.95);
    expect(losses[2]).toBeLessThan(at(losses, 1));
    expect(losses[3]).toBeLessThan(at(losses, 2));
    // The first tenth of the columns is worth more than a tenth of what all of them are.
    expect(at(losses, 0) - at(losses, 1)).toBeGreaterThan(0.15 * (at(losses, 0) - at(losses, 3)));
  }
});

/** Inputs `[tokens, in]` with columns that are far larger than the others in all tokens, their H, and a target. */
function withLargeColumns(isLarge: (column: number) => boolean) {
  const [outFeatures, inFeatures, tokens] = [24, 48, 200];
  const normal = normalNumbers(71);
  const inputs = Float32Array.from(
    { length: tokens * inFeatures },
    (_, index) => normal() * (isLarge(index % inFeatures) ? 12 : 1),
  );
  const hessian = new Float64Array(inFeatures * inFeatures);
  for (let t = 0; t < tokens; t++)
    for (let j = 0; j < inFeatures; j++)
      for (let k = 0; k < inFeatures; k++)
        hessian[j * inFeatures + k] =
          at(hessian, j * inFeatures + k) + at(inputs, t * inFeatures + j) * at(inputs, t * inFeatures + k);
  const target = Float32Array.from({ length: outFeatures * inFeatures }, () => 0.05 * normal());
  return { outFeatures, inFeatures, tokens, inputs, hessian, target };
}

describe.each([
  { sharing: 'all columns', columnsPerStep: 48, blockSize: 128, bits: 6, share: 0.9 },
  // Blocks that need not agree on one step lose less to begin with.
  { sharing: 'the columns of a block', columnsPerStep: 20, blockSize: 20, bits: 5, share: 0.8 },
])(
  'a c that knows the activation bits, one step for $sharing',
  ({ columnsPerStep, blockSize, bits, share }) => {
    // One column in twelve; each block of 20 has one or two of them.
    const { outFeatures, inFeatures, tokens, inputs, hessian, target } = withLargeColumns(
      (column) => column % 12 === 5,
    );
    const levels = 16;
    const activations = { inputs, weights: new Float32Array(tokens).fill(1), bits, columnsPerStep };
    const fitWith = (given: typeof activations | null) =>
      numerics.fitGrid(target, hessian, outFeatures, inFeatures, {
        ...options,
        levels,
        blockSize,
        activations: given,
      });

    /** Squared error of the outputs from inputs rounded in groups of so many columns. */
    const errorOf = (fit: GridFit) => {
      const c = fit.columnScale as Float32Array;
      const quantized = stored(fit, levels, outFeatures, inFeatures, blockSize);
      let error = 0;
      for (let t = 0; t < tokens; t++) {
        const x = Float64Array.from(c, (value, j) => value * at(inputs, t * inFeatures + j));
        const steps = x.map((_, j) => {
          const first = Math.floor(j / columnsPerStep) * columnsPerStep;
          return (
            Math.max(...x.subarray(first, first + columnsPerStep).map(Math.abs)) / (2 ** (bits - 1) - 1) || 1
          );
        });
        for (let i = 0; i < outFeatures; i++) {
          let difference = 0;
          for (let j = 0; j < inFeatures; j++)
            difference +=
              at(target, i * inFeatures + j) * at(inputs, t * inFeatures + j) -
              (at(quantized, i * inFeatures + j) / at(c, j)) *
                at(steps, j) *
                Math.round(at(x, j) / at(steps, j));
          error += difference * difference;
        }
      }
      return error;
    };

    test('lowers the error of outputs from rounded inputs', () => {
      expect(errorOf(fitWith(activations))).toBeLessThan(share * errorOf(fitWith(null)));
    });

    test('minimises the error on the weights and Σ_g κ_g(c) Σ (r s)²', () => {
      const fit = fitWith(activations);
      const metric = gridMetric(hessian, inFeatures, options.damping);
      const quantized = stored(fit, levels, outFeatures, inFeatures, blockSize);
      const c = Float64Array.from(fit.columnScale as Float32Array);
      const prices = roundingPrices(activations, c);
      let rounding = 0;
      quantized.forEach((value, index) => {
        const j = index % inFeatures;
        rounding += at(prices, Math.floor(j / columnsPerStep)) * (value / at(c, j)) ** 2;
      });
      const loss = metric.lossScale * lossOf(target, quantized, metric.hessian, inFeatures) + rounding;
      expect(fit.loss / loss).toBeCloseTo(1, 4);
    });
  },
);

test('κ_g is what rounding the columns of a group costs on average', () => {
  const { inFeatures, tokens, inputs } = withLargeColumns((column) => column < 3);
  const [bits, columnsPerStep] = [8, 20];
  const sample = { inputs, weights: new Float32Array(tokens).fill(1), bits, columnsPerStep };
  const prices = roundingPrices(sample, new Float64Array(inFeatures).fill(1));
  expect(prices.length).toBe(3);
  prices.forEach((price, g) => {
    let [squares, count] = [0, 0];
    for (let t = 0; t < tokens; t++) {
      const x = inputs.subarray(t * inFeatures, (t + 1) * inFeatures).slice(g * 20, (g + 1) * 20);
      const step = Math.max(...x.map(Math.abs)) / 127;
      for (const value of x) {
        squares += (step * Math.round(value / step) - value) ** 2;
        count += 1 / tokens;
      }
      // The largest value is a whole number of steps.
      count -= 1 / tokens;
    }
    expect(squares / count / price).toBeGreaterThan(0.95);
    expect(squares / count / price).toBeLessThan(1.05);
  });
  // Only the first group has large columns.
  expect(at(prices, 0)).toBeGreaterThan(20 * at(prices, 1));
});

test("where each block has its own step, c of each block has the geometric mean 1 and the loss does not depend on a block's factor", () => {
  const layer = tinyLayer(4, 6, 10, 40);
  const inputs = randomWeight(30, 10, 41);
  const sample = { inputs, weights: new Float32Array(30).fill(0.5), bits: 6, columnsPerStep: 4 };
  solveColumnScale(layer, 1e-3, sample);
  for (const { first, width } of layer.blocks) {
    const part = layer.columnScale.subarray(first, first + width);
    expect(part.reduce((product, value) => product * value, 1)).toBeCloseTo(1, 4);
  }
  const loss = descend(layer, 0);
  layer.columnScale.forEach((value, j) => {
    if (j >= 4 && j < 8) layer.columnScale[j] = 2 * value;
  });
  for (let row = 0; row < layer.outFeatures; row++)
    layer.rowScale[row * layer.blocks.length + 1] = at(layer.rowScale, row * layer.blocks.length + 1) / 2;
  const prices = roundingPrices(sample, Float64Array.from(layer.columnScale));
  layer.columnScale.forEach((c, j) => {
    expect(at(prices, Math.floor(j / 4)) / (c * c) / at(layer.penalty, j)).toBeCloseTo(1, 5);
  });
  expect(descend(layer, 0) / loss).toBeCloseTo(1, 5);
});
