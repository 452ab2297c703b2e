import { type CompensationKind, compensateRow, errorOfBlock } from './error-compensation.ts';
import { halfToNumber, storedHalf } from './half-precision.ts';

/**
 * Structured binarization (BiLLM, arXiv 2402.04291; docs/method.md, section 2). Plain and slow; float32 arithmetic in the order of the native code, so
 * that codes and levels can be compared bit by bit.
 */

export interface StructuredOptions {
  importance: 'hessian' | 'magnitude';
  searchOn: 'importance' | 'weight' | 'weighted-weight';
  maximumSalientColumns: number;
  splitPercentiles: { first: number; last: number; count: number };
  percentilesOver: 'all-with-zeros' | 'non-salient';
  compensation: CompensationKind;
  blockSize: number;
}

const float = Math.fround;

/** Rows whose errors are added up before the total is formed; part of the arithmetic. */
const rowsPerSum = 32;

function sumOverRows(values: number[]): number {
  let total = 0;
  for (let start = 0; start < values.length; start += rowsPerSum) {
    let part = 0;
    for (const value of values.slice(start, start + rowsPerSum)) part += value;
    total += part;
  }
  return total;
}

function sum(values: number[]): number {
  let total = 0;
  for (const value of values) total = float(total + value);
  return total;
}

const signOf = (value: number): number => (value >= 0 ? 1 : -1);
const magnitudeOf = (value: number): number => Math.abs(value);

/** First order: mean ± mean|v − mean|. An empty set has both 0. */
export function firstOrder(values: number[], mean?: number): { mean: number; scale: number } {
  const count = Math.max(1, values.length);
  const middle = mean ?? float(sum(values) / count);
  return { mean: middle, scale: float(sum(values.map((value) => Math.abs(float(value - middle)))) / count) };
}

/** Weighted squared error of a first-order binarization. */
function firstOrderError(values: number[], weights: number[], fit: { mean: number; scale: number }): number {
  let error = 0;
  values.forEach((value, index) => {
    const distance = float(Math.abs(float(value - fit.mean)) - fit.scale);
    error = float(error + float(float(distance * distance) * (weights[index] as number)));
  });
  return error;
}

/** Weighted squared error of a second-order binarization: first order, and first order of what is left. */
function secondOrderError(values: number[], weights: number[]): number {
  const fit = firstOrder(values);
  const rests = values.map((value) => {
    const centred = float(value - fit.mean);
    return float(centred - signOf(centred) * fit.scale);
  });
  return firstOrderError(rests, weights, firstOrder(rests));
}

/** Everything that a block's searches found, with the errors they compared. */
export interface BlockSearch {
  /** Salient columns as offsets in the block, ascending. */
  salient: number[];
  /** Error for k = 1, 2, … salient columns. */
  salientErrors: number[];
  thresholds: number[];
  splitErrors: number[];
  /** |V| ≤ threshold is concentrated. */
  threshold: number;
  /** V, row by row. */
  values: number[][];
}

/** Index of the least value, the first of equal ones. */
function least(values: number[]): number {
  let best = 0;
  values.forEach((value, index) => {
    if (value < (values[best] as number) || (Number.isNaN(values[best]) && !Number.isNaN(value)))
      best = index;
  });
  return best;
}

/**
 * Error, over the rows, if `columns` up to k are salient and the rest first order. `columns` are in rank order. The rest's mean is summed from the last column.
 */
function errorOfSalientCount(values: number[][], columns: number[], weights: number[], k: number): number {
  const weightsInOrder = columns.map((column) => weights[column] as number);
  return sumOverRows(
    values.map((row) => {
      const ranked = columns.map((column) => row[column] as number);
      const rest = ranked.slice(k);
      const restMean = float(sum(rest.slice().reverse()) / rest.length);
      const restError = firstOrderError(rest, weightsInOrder.slice(k), firstOrder(rest, restMean));
      return float(secondOrderError(ranked.slice(0, k), weightsInOrder.slice(0, k)) + restError);
    }),
  );
}

/** Error, over the rows, if the ordinary columns are split at a threshold. */
function errorOfSplit(values: number[][], ordinary: number[], weights: number[], threshold: number): number {
  return sumOverRows(
    values.map((row) => {
      const inside = (column: number) => Math.abs(row[column] as number) <= threshold;
      const of = (columns: number[]) => firstOrder(columns.map((column) => row[column] as number));
      const concentrated = of(ordinary.filter(inside));
      const sparse = of(ordinary.filter((column) => !inside(column)));
      let error = 0;
      for (const column of ordinary) {
        const fit = inside(column) ? concentrated : sparse;
        const distance = float(Math.abs(float((row[column] as number) - fit.mean)) - fit.scale);
        error = float(error + float(float(distance * distance) * (weights[column] as number)));
      }
      return error;
    }),
  );
}

/** numpy.quantile's default: linear between neighbours of the sorted values. */
export function quantile(sorted: number[], fraction: number): number {
  const position = fraction * (sorted.length - 1);
  const index = Math.min(Math.floor(position), sorted.length - 1);
  const low = sorted[index] as number;
  const high = sorted[Math.min(index + 1, sorted.length - 1)] as number;
  // Equal neighbours may both be infinite.
  return float(low === high ? low : low + (high - low) * (position - Math.floor(position)));
}

/** Searches of one block. `rows` are its weights as updated so far, `diagonal` U_jj of its columns. */
export function searchBlock(rows: number[][], diagonal: number[], options: StructuredOptions): BlockSearch {
  const width = diagonal.length;
  const importanceOf = (weight: number, column: number): number => {
    const u = diagonal[column] as number;
    return options.importance === 'magnitude'
      ? Math.abs(weight)
      : float(float(weight * weight) / float(u * u));
  };
  const values = options.searchOn === 'importance' ? rows.map((row) => row.map(importanceOf)) : rows;
  const weighted = options.searchOn === 'weighted-weight' && options.importance === 'hessian';
  const weights = diagonal.map((u) => (weighted ? float(1 / float(u * u)) : 1));

  const scores = diagonal.map((u, column) => {
    const column64 = rows.map((row) => row[column] as number);
    if (options.importance === 'magnitude') return sumOverRows(column64.map(magnitudeOf));
    return sumOverRows(column64.map((weight) => weight * weight)) / (u * u);
  });
  const ranked = [...diagonal.keys()].sort((a, b) => (scores[b] as number) - (scores[a] as number) || a - b);
  const maximum = Math.min(options.maximumSalientColumns, width - 1);
  const salientErrors = Array.from({ length: maximum }, (_, index) =>
    errorOfSalientCount(values, ranked, weights, index + 1),
  );
  const count = maximum === 0 ? 0 : 1 + least(salientErrors);
  const salient = ranked.slice(0, count).sort((a, b) => a - b);
  const ordinary = ranked.slice(count).sort((a, b) => a - b);

  const zeros = options.percentilesOver === 'all-with-zeros' ? rows.length * count : 0;
  const magnitudes = [
    ...new Array<number>(zeros).fill(0),
    ...values.flatMap((row) => ordinary.map((column) => Math.abs(row[column] as number))),
  ].sort((a, b) => a - b);
  const { first, last, count: candidates } = options.splitPercentiles;
  const thresholds = Array.from({ length: candidates }, (_, index) =>
    quantile(magnitudes, (first + ((last - first) * index) / Math.max(1, candidates - 1)) / 100),
  );
  const splitErrors = thresholds.map((threshold) => errorOfSplit(values, ordinary, weights, threshold));
  const threshold = thresholds[least(splitErrors)] as number;
  return { salient, salientErrors, thresholds, splitErrors, threshold, values };
}

/** fp16 bits and value of one level. */
function level(value: number): { bits: number; value: number } {
  const bits = storedHalf(value);
  return { bits, value: halfToNumber(bits) };
}

/** A group's mean, and the mean deviation from the mean as stored. */
function groupLevels(values: number[]) {
  const mean = level(firstOrder(values).mean);
  return { mean, scale: level(firstOrder(values, mean.value).scale) };
}

/** The nearer of a group's two levels. */
function nearestOf(value: number, group: ReturnType<typeof groupLevels>): number {
  return float(group.mean.value + signOf(float(value - group.mean.value)) * group.scale.value);
}

/**
 * The salient entries of a row: scale 1 from the first order; both means summed into one level; scale 2 from what is left beside that level and scale 1.
 */
function salientLevels(values: number[]) {
  const first = firstOrder(values);
  const scale1 = level(first.scale);
  const rests = values.map((value) => {
    const centred = float(value - first.mean);
    return float(centred - signOf(centred) * scale1.value);
  });
  const count = Math.max(1, values.length);
  const mean = level(float(first.mean + float(sum(rests) / count)));
  const left = values.map((value) => {
    const centred = float(value - mean.value);
    return Math.abs(float(centred - signOf(centred) * scale1.value));
  });
  return { mean, scale1, scale2: level(float(sum(left) / count)) };
}

export function quantizeStructured(
  weight: Float32Array,
  outFeatures: number,
  inFeatures: number,
  factor: Float32Array | null,
  options: StructuredOptions,
): { codes: Uint8Array; levels: Uint16Array; salientColumns: Uint8Array; searches: BlockSearch[] } {
  const blocks = Math.ceil(inFeatures / options.blockSize);
  const codes = new Uint8Array(outFeatures * inFeatures);
  const levels = new Uint16Array(outFeatures * blocks * 7);
  const salientColumns = new Uint8Array(inFeatures);
  const searches: BlockSearch[] = [];
  const current = weight.slice();
  const kind = factor === null ? 'none' : options.compensation;
  for (let block = 0; block < blocks; block++) {
    const first = block * options.blockSize;
    const width = Math.min(options.blockSize, inFeatures - first);
    const rowOf = (i: number) => current.subarray(i * inFeatures + first, i * inFeatures + first + width);
    const diagonal = Array.from({ length: width }, (_, j) =>
      factor === null ? 1 : (factor[(first + j) * (inFeatures + 1)] as number),
    );
    const rows = Array.from({ length: outFeatures }, (_, i) => [...rowOf(i)]);
    const search = searchBlock(rows, diagonal, options);
    searches.push(search);
    for (const j of search.salient) salientColumns[first + j] = 1;

    for (let i = 0; i < outFeatures; i++) {
      const row = rowOf(i);
      const isSalient = (j: number) => search.salient.includes(j);
      const isSparse = (j: number) => !(Math.abs(search.values[i]?.[j] as number) <= search.threshold);
      const pick = (condition: (j: number) => boolean) => [...row].filter((_, j) => condition(j));
      const concentrated = groupLevels(pick((j) => !isSalient(j) && !isSparse(j)));
      const sparse = groupLevels(pick((j) => !isSalient(j) && isSparse(j)));
      const salient = salientLevels(pick(isSalient));
      const stored = [concentrated.mean, concentrated.scale, sparse.mean, sparse.scale];
      stored.push(salient.mean, salient.scale1, salient.scale2);
      stored.forEach((one, index) => {
        levels[(i * blocks + block) * 7 + index] = one.bits;
      });

      const error = new Float32Array(width);
      for (let j = 0; j < width; j++) {
        const value = row[j] as number;
        let code: number;
        let quantized: number;
        if (isSalient(j)) {
          const centred = float(value - salient.mean.value);
          const step = signOf(centred) * salient.scale1.value;
          const rest = float(centred - step);
          code = (centred >= 0 ? 1 : 0) + (rest >= 0 ? 2 : 0);
          quantized = float(float(salient.mean.value + step) + signOf(rest) * salient.scale2.value);
        } else {
          const inner = nearestOf(value, concentrated);
          const outer = nearestOf(value, sparse);
          // A weight that compensation has moved since the split takes the nearest of the four levels.
          const isOuter =
            kind === 'column' ? Math.abs(float(value - outer)) < Math.abs(float(value - inner)) : isSparse(j);
          const group = isOuter ? sparse : concentrated;
          quantized = isOuter ? outer : inner;
          code = (float(value - group.mean.value) >= 0 ? 1 : 0) + (isOuter ? 2 : 0);
        }
        codes[i * inFeatures + first + j] = code;
        error[j] = float(value - quantized);
        if (factor !== null && kind === 'column') {
          const start = (first + j) * inFeatures + first;
          error[j] = float((error[j] as number) / (factor[start + j] as number));
          for (let k = j + 1; k < width; k++)
            row[k] = float((row[k] as number) - float((error[j] as number) * (factor[start + k] as number)));
        }
      }
      if (factor === null || kind === 'none') continue;
      if (kind !== 'column') errorOfBlock(error, factor, inFeatures, first, kind);
      compensateRow(current.subarray(i * inFeatures, (i + 1) * inFeatures), error, factor, inFeatures, first);
    }
  }
  return { codes, levels, salientColumns, searches };
}
