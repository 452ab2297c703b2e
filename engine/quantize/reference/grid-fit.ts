import {
  addProduct,
  at,
  float,
  type GridLayer,
  type GridMetric,
  gridValue,
  nearestCode,
  quantizedRow,
} from './grid-layer.ts';
import { type ActivationSample, solveColumnScale, solveRowScales } from './grid-scales.ts';
import { halfToNumber, storedHalf } from './half-precision.ts';

/** The steps of a grid fit in their order (docs/method.md, section 8): start, rounds of closed forms and coordinate descent, rounding, a last sweep. */

export interface GridFitOptions {
  levels: number;
  rounds: number;
  sweeps: number;
  blockSize: number;
  rowRidge: number;
  columnRidge: number;
  columnScale: 'free' | 'none';
  residualColumns: number;
  activations: ActivationSample | null;
}

const smallestStep = float(1e-12);
const startFactors: Record<number, number> = { 2: 2, 3: 1.534, 4: 1.248, 8: 0.734, 16: 0.42 };
const searchStages = [
  [0.6, 0.8, 1, 1.3, 1.7, 2.2, 3, 4, 5.5, 7.5],
  [0.87, 1.13],
  [0.935, 1.065],
];

/** GPTQ's pass over one block of a row with one scale: codes, E, Σ E². */
function roundBlock(
  weights: Float32Array,
  factorOf: ((j: number, k: number) => number) | null,
  levels: number,
  scale: number,
) {
  const current = weights.slice();
  const codes = new Uint8Array(weights.length);
  let sum = 0;
  const errors = current.map((_, j) => {
    const weight = at(current, j);
    const centre = (levels - 1) / 2;
    codes[j] = nearestCode(scale < smallestStep ? centre : float(float(weight / scale) + centre), levels);
    let error = float(weight - float(scale * (at(codes, j) - centre)));
    if (factorOf !== null) {
      error = float(error / factorOf(j, j));
      for (let k = j + 1; k < current.length; k++)
        current[k] = at(current, k) - float(error * factorOf(j, k));
    }
    sum = float(sum + float(error * error));
    return error;
  });
  return { codes, errors, sum };
}

/** r from the weighted mean absolute target and a search around it; codes from left to right, each block's error passed on. Returns Σ E². */
function startRow(layer: GridLayer, row: number, factor: Float32Array | null): number {
  const { inFeatures } = layer;
  const current = layer.target.slice(row * inFeatures, (row + 1) * inFeatures);
  let loss = 0;
  layer.blocks.forEach(({ first, width, levels }, b) => {
    let sum = 0;
    let weights = 0;
    for (let j = first; j < first + width; j++) {
      sum += at(layer.diagonal, j) * Math.abs(at(layer.target, row * inFeatures + j));
      weights += at(layer.diagonal, j);
    }
    const factorOf =
      factor === null ? null : (j: number, k: number) => at(factor, (first + j) * inFeatures + first + k);
    const part = current.slice(first, first + width);
    let best = float(float(startFactors[levels] as number) * float(sum / weights));
    let least: number | null = null;
    for (const factors of searchStages) {
      const middle = best;
      for (const multiplier of factors) {
        const scale = float(middle * float(multiplier));
        const tried = roundBlock(part, factorOf, levels, scale).sum;
        if (least !== null && !(tried < least)) continue;
        least = tried;
        best = scale;
      }
    }
    layer.rowScale[row * layer.blocks.length + b] = best;
    const { codes, errors } = roundBlock(part, factorOf, levels, best);
    layer.codes.set(codes, row * inFeatures + first);
    for (const error of errors) loss += error * error;
    if (factor === null) return;
    for (let j = first + width; j < inFeatures; j++)
      current[j] = -addProduct(
        -at(current, j),
        width,
        (k) => at(errors, k),
        (k) => at(factor, (first + k) * inFeatures + j),
      );
  });
  return loss;
}

/** One row's sweeps of coordinate descent; returns the loss behind them. */
function descendRow(layer: GridLayer, row: number, sweeps: number): number {
  const { columns, hessian, source } = layer;
  const start = quantizedRow(layer, row);
  const gradient = Float32Array.from(
    { length: columns },
    (_, j) =>
      -addProduct(
        -at(layer.targetProduct, row * columns + j),
        columns,
        (k) => at(start, k),
        (k) => at(hessian, k * columns + j),
      ),
  );
  for (let sweep = 0; sweep < sweeps; sweep++)
    layer.blocks.forEach((block, b) => {
      const change = new Float32Array(block.width);
      for (let k = 0; k < block.width; k++) {
        const j = block.first + k;
        const code = at(layer.codes, row * columns + j);
        const step = float(at(layer.rowScale, row * layer.blocks.length + b) * at(layer.columnScale, j));
        if (step < smallestStep) continue;
        const curvature = at(hessian, j * columns + j);
        const slope = at(gradient, j);
        const next = nearestCode(float(code + float(slope / float(curvature * step))), block.levels);
        const moved = float(step * (next - code));
        if (!(float(moved * float(float(curvature * moved) - 2 * slope)) < 0)) continue;
        layer.codes[row * columns + j] = next;
        change[k] = moved;
        for (let l = block.first; l < block.first + block.width; l++)
          gradient[l] = at(gradient, l) - float(moved * at(hessian, j * columns + l));
      }
      if (change.every((value) => value === 0)) return;
      for (let l = 0; l < columns; l++)
        if (l < block.first || l >= block.first + block.width)
          gradient[l] = -addProduct(
            -at(gradient, l),
            block.width,
            (k) => at(change, k),
            (k) => at(hessian, (block.first + k) * columns + l),
          );
    });
  let loss = 0;
  quantizedRow(layer, row).forEach((value, j) => {
    const target = at(layer.target, row * layer.inFeatures + at(source, j));
    loss += target * at(layer.penalty, at(source, j)) * value;
    loss += ((j < layer.inFeatures ? target : 0) - value) * at(gradient, j);
  });
  return loss;
}

/** Gives the columns that promise most, c_j² Σ_i r² / [H⁻¹]_jj, one more plane each, started from the signs of the error. */
function addResidualColumns(
  layer: GridLayer,
  count: number,
  blockSize: number,
  factor: Float32Array | null,
): void {
  const { inFeatures, outFeatures, blocks } = layer;
  const promises = new Float64Array(inFeatures);
  blocks.forEach((block, b) => {
    let squares = 0;
    for (let i = 0; i < outFeatures; i++) squares += at(layer.rowScale, i * blocks.length + b) ** 2;
    for (let j = block.first; j < block.first + block.width; j++) {
      let inverse = 0;
      for (let k = 0; k <= j; k++) inverse += factor === null ? 0 : at(factor, k * inFeatures + j) ** 2;
      promises[j] = at(layer.columnScale, j) ** 2 * squares;
      promises[j] = factor === null ? at(promises, j) * at(layer.diagonal, j) : at(promises, j) / inverse;
    }
  });
  const chosen = [...promises.keys()]
    .sort((a, b) => at(promises, b) - at(promises, a))
    .slice(0, count)
    .sort((a, b) => a - b);
  const columns = inFeatures + count;
  const source = [...layer.source, ...chosen];
  const wide = <T extends Float32Array | Uint8Array>(narrow: T, make: (length: number) => T): T => {
    const rows = narrow.length / inFeatures;
    const result = make(rows * columns);
    for (let index = 0; index < result.length; index++)
      result[index] = at(narrow, Math.floor(index / columns) * inFeatures + at(source, index % columns));
    return result;
  };
  const floats = (length: number) => new Float32Array(length);
  const { hessian } = layer;
  layer.hessian = Float32Array.from({ length: columns * columns }, (_, index) =>
    at(hessian, at(source, Math.floor(index / columns)) * inFeatures + at(source, index % columns)),
  );
  const errors = Array.from({ length: outFeatures }, (_, i) => {
    const quantized = quantizedRow(layer, i);
    return quantized.map((value, j) => float(at(layer.target, i * inFeatures + j) - value));
  });
  layer.columnScale = wide(layer.columnScale, floats);
  layer.targetProduct = wide(layer.targetProduct, floats);
  layer.codes = wide(layer.codes, (length) => new Uint8Array(length));
  layer.source = source;
  layer.columns = columns;
  const added = Array.from({ length: Math.ceil(count / blockSize) }, (_, b) => ({
    first: inFeatures + b * blockSize,
    width: Math.min(blockSize, count - b * blockSize),
    levels: 2,
  }));
  layer.blocks = [...blocks, ...added];
  const scales = new Float32Array(outFeatures * layer.blocks.length);
  for (let i = 0; i < outFeatures; i++) {
    for (let b = 0; b < blocks.length; b++)
      scales[i * layer.blocks.length + b] = at(layer.rowScale, i * blocks.length + b);
    added.forEach((block, n) => {
      let sum = 0;
      let weights = 0;
      for (let k = block.first; k < block.first + block.width; k++) {
        const error = at(errors[i] as Float32Array, at(source, k));
        layer.codes[i * columns + k] = error >= 0 ? 1 : 0;
        const scale = at(layer.columnScale, k);
        const weight = at(layer.diagonal, at(source, k)) * scale;
        sum += weight * Math.abs(error);
        weights += weight * scale;
      }
      scales[i * layer.blocks.length + blocks.length + n] = weights > 0 ? 2 * float(sum / weights) : 0;
    });
  }
  layer.rowScale = scales;
}

/** A layer with its start: c = 1, W̃H, GPTQ's codes; and the loss of the start. */
export function startGrid(
  target: Float32Array,
  metric: GridMetric,
  outFeatures: number,
  inFeatures: number,
  options: GridFitOptions,
): { layer: GridLayer; startLoss: number } {
  const { hessian, factor } = metric;
  const blocks = Array.from({ length: Math.ceil(inFeatures / options.blockSize) }, (_, b) => ({
    first: b * options.blockSize,
    width: Math.min(options.blockSize, inFeatures - b * options.blockSize),
    levels: options.levels,
  }));
  const layer: GridLayer = {
    target,
    outFeatures,
    inFeatures,
    columns: inFeatures,
    source: Array.from({ length: inFeatures }, (_, j) => j),
    blocks,
    hessian: hessian.slice(),
    diagonal: Float32Array.from({ length: inFeatures }, (_, j) => at(hessian, j * inFeatures + j)),
    penalty: new Float32Array(inFeatures),
    codes: new Uint8Array(target.length),
    rowScale: new Float32Array(outFeatures * blocks.length),
    columnScale: new Float32Array(inFeatures).fill(1),
    targetProduct: target.map((_, index) =>
      addProduct(
        0,
        inFeatures,
        (k) => at(target, Math.floor(index / inFeatures) * inFeatures + k),
        (k) => at(hessian, k * inFeatures + (index % inFeatures)),
      ),
    ),
  };
  let startLoss = 0;
  for (let row = 0; row < outFeatures; row++) startLoss += startRow(layer, row, factor);
  return { layer, startLoss };
}

/** Sweeps over all rows; the loss behind them. */
export function descend(layer: GridLayer, sweeps: number): number {
  let loss = 0;
  for (let row = 0; row < layer.outFeatures; row++) loss += descendRow(layer, row, sweeps);
  return loss;
}

/** Factor of the price of activation rounding in the first round. */
const firstPrice = 8;

export function fitGrid(
  target: Float32Array,
  metric: GridMetric,
  outFeatures: number,
  inFeatures: number,
  options: GridFitOptions,
): { layer: GridLayer; scales: Uint16Array; losses: number[]; startLoss: number; loss: number } {
  const { layer, startLoss } = startGrid(target, metric, outFeatures, inFeatures, options);
  const losses: number[] = [];
  for (let round = 0; round < options.rounds; round++) {
    solveRowScales(layer, options.rowRidge);
    // While the codes have not settled around a c, the price of activation rounding counts more: they follow c only slowly afterwards.
    const price = round === 0 ? firstPrice : 1;
    const sample = options.activations && {
      ...options.activations,
      weights: options.activations.weights.map((weight) => float((price * weight) / metric.lossScale)),
    };
    if (options.columnScale === 'free') {
      solveColumnScale(layer, options.columnRidge, sample);
      solveRowScales(layer, options.rowRidge);
    }
    if (round === 0 && options.residualColumns > 0) {
      addResidualColumns(layer, options.residualColumns, options.blockSize, metric.factor);
      solveRowScales(layer, options.rowRidge);
    }
    losses.push(metric.lossScale * descend(layer, options.sweeps));
  }
  const scales = Uint16Array.from(layer.rowScale, (scale) => storedHalf(scale));
  layer.rowScale = Float32Array.from(scales, halfToNumber);
  const loss = metric.lossScale * descend(layer, 1);
  return { layer, scales, losses, startLoss: metric.lossScale * startLoss, loss };
}

/** Ŵ of what the layer holds, residual columns added, `[out, in]`. */
export function dequantizedLayer(layer: GridLayer): Float64Array {
  const result = new Float64Array(layer.outFeatures * layer.inFeatures);
  for (let i = 0; i < layer.outFeatures; i++)
    layer.blocks.forEach((block, b) => {
      for (let j = block.first; j < block.first + block.width; j++) {
        const index = i * layer.inFeatures + at(layer.source, j);
        const scale = at(layer.rowScale, i * layer.blocks.length + b) * at(layer.columnScale, j);
        result[index] = at(result, index) + scale * gridValue(layer, i, block, j);
      }
    });
  return result;
}
