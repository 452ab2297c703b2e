import {
  addProduct,
  at,
  float,
  type GridLayer,
  gridValue,
  rowsPerTask,
  solveSymmetric,
} from './grid-layer.ts';

/** The closed forms of r and c of a grid fit, and the cost of activation rounding in that of c (docs/method.md, section 8). */

/** A sample of the layer's inputs x before c `[tokens, in]` and w_t `[tokens]`, such that Σ w_t x_t x_tᵀ estimates H. */
export interface ActivationSample {
  inputs: Float32Array;
  weights: Float32Array;
  bits: number;
  /** Columns that share a step; left out: all. */
  columnsPerStep?: number;
}

/** Tokens after which the native code adds up its partial sums. */
const tokensPerTask = 32;

/** The joint normal equations of one row's r: A `[blocks, blocks]` (lower triangle) and b, without ridge. */
export function rowEquations(layer: GridLayer, row: number): { matrix: Float64Array; right: Float64Array } {
  const { blocks, columns, hessian } = layer;
  const values = new Float32Array(columns);
  for (const block of blocks)
    for (let j = block.first; j < block.first + block.width; j++)
      values[j] = float(gridValue(layer, row, block, j) * at(layer.columnScale, j));
  const matrix = new Float64Array(blocks.length ** 2);
  const right = new Float64Array(blocks.length);
  blocks.forEach((block, g) => {
    for (let h = g; h < blocks.length; h++) {
      const other = blocks[h] as (typeof blocks)[number];
      let sum = 0;
      for (let l = other.first; l < other.first + other.width; l++) {
        const product = addProduct(
          0,
          block.width,
          (k) => at(values, block.first + k),
          (k) => at(hessian, (block.first + k) * columns + l),
        );
        sum += product * at(values, l);
      }
      matrix[h * blocks.length + g] = sum;
    }
    for (let k = block.first; k < block.first + block.width; k++)
      right[g] = at(right, g) + at(values, k) * at(layer.targetProduct, row * columns + k);
  });
  return { matrix, right };
}

export function solveRowScales(layer: GridLayer, ridge: number): void {
  const { blocks } = layer;
  for (let row = 0; row < layer.outFeatures; row++) {
    const { matrix, right } = rowEquations(layer, row);
    for (let g = 0; g < blocks.length; g++) {
      const diagonal = at(matrix, g * blocks.length + g);
      const pull = diagonal > 0 ? ridge * diagonal : 1;
      matrix[g * blocks.length + g] = diagonal + pull;
      right[g] = at(right, g) + pull * at(layer.rowScale, row * blocks.length + g);
    }
    const solved = solveSymmetric(matrix, right);
    if (solved === null || !solved.every((value) => Number.isFinite(float(value)))) continue;
    blocks.forEach((block, g) => {
      layer.rowScale[row * blocks.length + g] = Math.abs(at(solved, g));
      if (at(solved, g) < 0)
        for (let j = block.first; j < block.first + block.width; j++)
          layer.codes[row * layer.columns + j] = block.levels - 1 - at(layer.codes, row * layer.columns + j);
    });
  }
}

/** The normal equations of c: H ⊙ VᵀV (lower triangle), Σ_i V_i ⊙ (W̃H)_i; and Σ V² of each group of `columnsPerStep` columns. */
export function columnEquations(
  layer: GridLayer,
  columnsPerStep = layer.inFeatures,
): {
  matrix: Float64Array;
  right: Float64Array;
  squares: Float64Array;
} {
  const { inFeatures, outFeatures, blocks, columns } = layer;
  const values = new Float32Array(outFeatures * inFeatures);
  for (let i = 0; i < outFeatures; i++)
    blocks.forEach((block, b) => {
      for (let j = block.first; j < block.first + block.width; j++) {
        const index = i * inFeatures + at(layer.source, j);
        values[index] =
          at(values, index) +
          float(at(layer.rowScale, i * blocks.length + b) * gridValue(layer, i, block, j));
      }
    });
  const right = new Float64Array(inFeatures);
  const squares = new Float64Array(Math.ceil(inFeatures / columnsPerStep));
  for (let start = 0; start < outFeatures; start += rowsPerTask) {
    const part = new Float64Array(inFeatures);
    const partSquares = new Float64Array(squares.length);
    for (let i = start; i < Math.min(outFeatures, start + rowsPerTask); i++)
      for (let j = 0; j < inFeatures; j++) {
        const value = at(values, i * inFeatures + j);
        part[j] = at(part, j) + value * at(layer.targetProduct, i * columns + j);
        const group = Math.floor(j / columnsPerStep);
        partSquares[group] = at(partSquares, group) + value * value;
      }
    for (let j = 0; j < inFeatures; j++) right[j] = at(right, j) + at(part, j);
    for (let group = 0; group < squares.length; group++)
      squares[group] = at(squares, group) + at(partSquares, group);
  }
  const matrix = new Float64Array(inFeatures * inFeatures);
  for (let j = 0; j < inFeatures; j++)
    for (let k = j; k < inFeatures; k++) {
      const product = addProduct(
        0,
        outFeatures,
        (i) => at(values, i * inFeatures + j),
        (i) => at(values, i * inFeatures + k),
      );
      matrix[k * inFeatures + j] =
        product * (j === k ? at(layer.diagonal, j) : at(layer.hessian, j * columns + k));
    }
  return { matrix, right, squares };
}

function sumOverTokens(
  sample: ActivationSample,
  width: number,
  add: (token: number, sums: Float64Array) => void,
) {
  const total = new Float64Array(width);
  for (let start = 0; start < sample.weights.length; start += tokensPerTask) {
    const part = new Float64Array(width);
    for (let t = start; t < Math.min(sample.weights.length, start + tokensPerTask); t++) add(t, part);
    for (let j = 0; j < width; j++) total[j] = at(total, j) + at(part, j);
  }
  return total;
}

const tokenFactor = (sample: ActivationSample, token: number) =>
  at(sample.weights, token) / (12 * (2 ** (sample.bits - 1) - 1) ** 2);

/** The columns of each group that shares a step, `[first, behind the last]`. */
function stepGroups(sample: ActivationSample, size: number): [number, number][] {
  const width = stepWidth(sample, size);
  return Array.from({ length: Math.ceil(size / width) }, (_, group) => [
    group * width,
    Math.min(size, (group + 1) * width),
  ]);
}

const stepWidth = (sample: ActivationSample | null, size: number) =>
  Math.min(sample?.columnsPerStep ?? size, size);

function largestSquare(
  sample: ActivationSample,
  token: number,
  scale: Float64Array,
  [first, last]: [number, number],
): number {
  let largest = 0;
  for (let j = first; j < last; j++)
    largest = Math.max(largest, Math.abs(at(scale, j) * at(sample.inputs, token * scale.length + j)));
  return largest * largest;
}

/** κ_g(c) = Σ_t w_t s_tg² / 12 of each group: what rounding c∘x costs for every (r s)² in its columns. */
export function roundingPrices(sample: ActivationSample, scale: Float64Array): Float64Array {
  const groups = stepGroups(sample, scale.length);
  return sumOverTokens(sample, groups.length, (t, sums) => {
    groups.forEach((group, g) => {
      sums[g] = at(sums, g) + tokenFactor(sample, t) * largestSquare(sample, t, scale, group);
    });
  });
}

/** κ_g(c') ≈ Σ_j∈g D_j c'_j² around c: shares fall with the eighth power of |c_j x_j|. */
function roundingShares(sample: ActivationSample, scale: Float64Array): Float64Array {
  const size = scale.length;
  const groups = stepGroups(sample, size);
  return sumOverTokens(sample, size, (t, sums) => {
    for (const group of groups) {
      const largest = largestSquare(sample, t, scale, group);
      if (!(largest > 0)) continue;
      const [first, last] = group;
      const powers = Array.from(scale.subarray(first, last), (c, k) => {
        const value = c * at(sample.inputs, t * size + first + k);
        const fourth = ((value * value) / largest) * ((value * value) / largest);
        return fourth * fourth;
      });
      let all = 0;
      for (const power of powers) all += power;
      const factor = tokenFactor(sample, t) / all;
      powers.forEach((power, k) => {
        const value = at(sample.inputs, t * size + first + k);
        sums[first + k] = at(sums, first + k) + factor * power * value * value;
      });
    }
  });
}

export function solveColumnScale(layer: GridLayer, ridge: number, sample: ActivationSample | null): void {
  const { inFeatures } = layer;
  const equations = columnEquations(layer, stepWidth(sample, inFeatures));
  const previous = Float64Array.from(layer.columnScale.subarray(0, inFeatures));
  const pull = previous.map((_, j) => {
    const diagonal = at(equations.matrix, j * inFeatures + j);
    return diagonal > 0 ? ridge * diagonal : 1;
  });
  const solve = (price: Float64Array): Float64Array | null => {
    const matrix = equations.matrix.slice();
    const right = equations.right.slice();
    for (let j = 0; j < inFeatures; j++) {
      matrix[j * inFeatures + j] = at(matrix, j * inFeatures + j) + (at(pull, j) + at(price, j));
      right[j] = at(right, j) + at(pull, j) * at(previous, j);
    }
    const solved = solveSymmetric(matrix, right);
    return solved?.every((value) => Number.isFinite(float(value))) ? solved : null;
  };
  const solved =
    sample === null
      ? solve(new Float64Array(inFeatures))
      : pricedColumns(equations, pull, previous, sample, solve);
  if (solved !== null) takeColumnScale(layer, solved, sample);
  if (sample !== null) setPenalty(layer, sample);
}

function pricedColumns(
  equations: ReturnType<typeof columnEquations>,
  pull: Float64Array,
  previous: Float64Array,
  sample: ActivationSample,
  solve: (price: Float64Array) => Float64Array | null,
): Float64Array {
  const size = previous.length;
  const width = stepWidth(sample, size);
  const objective = (scale: Float64Array) => {
    let total = 0;
    roundingPrices(sample, scale).forEach((price, g) => {
      total += at(equations.squares, g) * price;
    });
    scale.forEach((c, j) => {
      let product = 0.5 * at(equations.matrix, j * size + j) * c;
      for (let k = 0; k < j; k++) product += at(equations.matrix, j * size + k) * at(scale, k);
      const moved = c - at(previous, j);
      total += 2 * c * (product - at(equations.right, j)) + at(pull, j) * moved * moved;
    });
    return total;
  };
  let scale = previous;
  let least = objective(scale);
  for (let round = 0; round < 3; round++) {
    const solved = solve(
      roundingShares(sample, scale).map((share, j) => share * at(equations.squares, Math.floor(j / width))),
    );
    if (solved === null) break;
    let best: Float64Array | null = null;
    for (let halving = 0; halving <= 5; halving++) {
      const tried = scale.map((c, j) => c + 0.5 ** halving * (at(solved, j) - c));
      const value = objective(tried);
      if (value < least) {
        least = value;
        best = tried;
      } else if (best !== null) break;
    }
    if (best === null) break;
    scale = best;
  }
  return scale;
}

/** c ≥ 0 with the codes turned where it was not, then normalised: each block by itself unless a residual column or a rounding step ties blocks to each other. */
function takeColumnScale(layer: GridLayer, solved: Float64Array, sample: ActivationSample | null): void {
  const { columns, columnScale } = layer;
  for (const block of layer.blocks)
    for (let j = block.first; j < block.first + block.width; j++) {
      const value = at(solved, at(layer.source, j));
      columnScale[j] = Math.abs(value);
      if (value < 0)
        for (let i = 0; i < layer.outFeatures; i++)
          layer.codes[i * columns + j] = block.levels - 1 - at(layer.codes, i * columns + j);
    }
  const blockWidth = layer.blocks[0]?.width ?? 0;
  const together =
    columns > layer.inFeatures || (sample !== null && blockWidth % stepWidth(sample, layer.inFeatures) !== 0);
  const parts = together
    ? [{ first: 0, last: columns, blocks: layer.blocks.map((_, b) => b) }]
    : layer.blocks.map((block, b) => ({ first: block.first, last: block.first + block.width, blocks: [b] }));
  for (const { first, last, blocks } of parts) {
    const part = columnScale.subarray(first, last);
    const least = float(Math.max(...part) * float(1e-6));
    const counted = part.filter((value) => value > 0 && value >= least);
    if (counted.length === 0) continue;
    let logarithms = 0;
    for (const value of counted) logarithms += Math.log(value);
    const mean = float(Math.exp(logarithms / counted.length));
    part.forEach((value, j) => {
      part[j] = value / mean;
    });
    for (let i = 0; i < layer.outFeatures; i++)
      for (const b of blocks) {
        const index = i * layer.blocks.length + b;
        layer.rowScale[index] = at(layer.rowScale, index) * mean;
      }
  }
}

/** P_j = κ_g(c) / c_j² on the diagonal of H, and between a residual column and its source. */
function setPenalty(layer: GridLayer, sample: ActivationSample): void {
  const { inFeatures, columns, source } = layer;
  const scale = Float64Array.from(layer.columnScale.subarray(0, inFeatures));
  const width = stepWidth(sample, inFeatures);
  const prices = roundingPrices(sample, scale);
  scale.forEach((c, j) => {
    const penalty = at(prices, Math.floor(j / width)) / (c * c);
    layer.penalty[j] = c > 0 && penalty < 1e15 ? penalty : 0;
  });
  for (let k = 0; k < columns; k++)
    for (let l = 0; l < columns; l++)
      if (source[k] === source[l])
        layer.hessian[k * columns + l] = float(
          at(layer.diagonal, at(source, k)) + at(layer.penalty, at(source, k)),
        );
}
