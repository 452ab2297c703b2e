import type { Architecture, Block, Linear, Stage } from '../model/architecture.ts';
import { packing } from '../native/packing.ts';
import type { GridLinear } from './quantized-linear.ts';
import type { Recipe } from './recipe.ts';

/** The linear whose rows become a stage's input columns, so that a column scale of the stage may be multiplied into it instead (method.md section 1). */
export interface FoldSource {
  linear: Linear;
  /** The row of `linear` that column j comes from, for each j of the stage. Columns of one row share one scale. */
  rowOfColumn: Int32Array;
}

/**
 * Where c of o and down can go: into v, whose rows reach o's columns through sums that attention weighs (the query heads of a KV head share them); into up, that
 * the gate multiplies; into fc1 only where the activation is ReLU, since c ≥ 0 passes it unchanged. Null for everything else.
 */
export function foldSource(architecture: Architecture, block: Block, stage: Stage): FoldSource | null {
  const find = (role: Linear['role']): Linear | undefined =>
    block.stages.flatMap((each) => each.linears).find((linear) => linear.role === role);
  const columns = stage.linears[0]?.inFeatures ?? 0;
  if (stage.name === 'attention-out') {
    const linear = find('v');
    const { headCount, keyValueHeadCount, headDimension } = architecture;
    const queriesPerKey = headCount / keyValueHeadCount;
    if (!linear) return null;
    const rowOfColumn = Int32Array.from({ length: columns }, (_, column) => {
      const keyHead = Math.floor(Math.floor(column / headDimension) / queriesPerKey);
      return keyHead * headDimension + (column % headDimension);
    });
    return { linear, rowOfColumn };
  }
  if (stage.name === 'mlp-out') {
    const linear = find('up');
    if (!linear || (architecture.mlp === 'plain' && architecture.activation !== 'relu')) return null;
    return { linear, rowOfColumn: Int32Array.from({ length: columns }, (_, column) => column) };
  }
  return null;
}

/**
 * Where a recipe folds column scales into rows, the factors that a package holds without saying so: those of the rows of a linear that took them, those of the columns
 * of the linear that they came from. Null for all others.
 */
export function hiddenScale(
  { binarizer }: Recipe,
  architecture: Architecture,
  block: Block,
  stage: Stage,
  linear: Linear,
): 'rows' | 'columns' | null {
  if (binarizer.kind !== 'grid' || binarizer.columnScale !== 'folded') return null;
  if (foldSource(architecture, block, stage)) return 'columns';
  const sources = block.stages.map((each) => foldSource(architecture, block, each)?.linear.name);
  return sources.includes(linear.name) ? 'rows' : null;
}

/** Whether columns have to share their scale. */
export function isTied({ rowOfColumn, linear }: FoldSource): boolean {
  return rowOfColumn.length > linear.outFeatures;
}

/** One scale for each row of the source, from one for each column: the geometric mean where columns share a row. 0 where one of them is 0. */
export function scaleOfRows({ rowOfColumn, linear }: FoldSource, columnScale: Float32Array): Float32Array {
  const logarithms = new Float64Array(linear.outFeatures);
  const counts = new Float64Array(linear.outFeatures);
  for (const [column, row] of rowOfColumn.entries()) {
    logarithms[row] = (logarithms[row] ?? 0) + Math.log(columnScale[column] ?? 1);
    counts[row] = (counts[row] ?? 0) + 1;
  }
  return Float32Array.from(logarithms, (sum, row) =>
    (counts[row] ?? 0) > 0 ? Math.exp(sum / (counts[row] ?? 1)) : 1,
  );
}

/** A scale of rows as one of the columns that come from them. */
export function scaleOfColumns({ rowOfColumn }: FoldSource, rowScale: Float32Array): Float32Array {
  return Float32Array.from(rowOfColumn, (row) => rowScale[row] ?? 1);
}

/**
 * Multiplies the rows of a quantized linear and its bias: row scales, offsets and residual scales are rounded to fp16 again.
 *
 * @returns stored values that no longer fit fp16 and were cut to ±65504
 */
export function scaleRows(linear: GridLinear, rowScale: Float32Array): number {
  let saturated = 0;
  const scaled = (halfs: Uint16Array): Uint16Array => {
    const perRow = halfs.length / linear.outFeatures;
    const values = packing
      .halfsToFloats(halfs)
      .map((value, index) => value * (rowScale[Math.floor(index / perRow)] ?? 1));
    for (const [index, value] of values.entries()) {
      if (Math.abs(value) <= largestHalf) continue;
      values[index] = Math.sign(value) * largestHalf;
      saturated += 1;
    }
    return packing.floatsToHalfs(values).halfs;
  };
  linear.scales = scaled(linear.scales);
  if (linear.offsets) linear.offsets = scaled(linear.offsets);
  if (linear.residual) linear.residual = { ...linear.residual, scales: scaled(linear.residual.scales) };
  if (linear.bias) linear.bias = linear.bias.map((value, row) => value * (rowScale[row] ?? 1));
  return saturated;
}

const largestHalf = 65504;

/**
 * ‖W − Q‖² / ‖W‖² with the best factor for each row (or column) of Q: what can be said of a linear whose rows (columns) hold a scale that a package does not
 * tell apart from its own. 0 for a layer of zeros that came back so.
 */
export function relativeErrorUpToScale(
  weight: Float32Array,
  quantized: Float32Array,
  inFeatures: number,
  along: 'rows' | 'columns',
): number {
  const groups = along === 'rows' ? weight.length / inFeatures : inFeatures;
  const products = new Float64Array(groups);
  const squares = new Float64Array(groups);
  let norm = 0;
  for (let index = 0; index < weight.length; index += 1) {
    const group = along === 'rows' ? Math.floor(index / inFeatures) : index % inFeatures;
    const w = weight[index] ?? 0;
    const q = quantized[index] ?? 0;
    products[group] = (products[group] ?? 0) + w * q;
    squares[group] = (squares[group] ?? 0) + q * q;
    norm += w * w;
  }
  let explained = 0;
  for (const [group, product] of products.entries()) {
    const square = squares[group] ?? 0;
    if (square > 0) explained += product ** 2 / square;
  }
  return norm > 0 ? Math.max(0, norm - explained) / norm : 0;
}
