import { type Architecture, type Linear, linearsOf } from '../model/architecture.ts';
import { type ExpectedTensor, expectedTensors } from '../model/expected-tensors.ts';
import type { Family } from '../model/families/family.ts';
import {
  alignment,
  base3GroupBytes,
  bytesPerLine,
  lineCount,
  padded,
  planeCountOf,
  residualLevels,
  rowGroupCount,
  rowsPerGroup,
} from '../quantize/code-storage.ts';
import { blockCount } from '../quantize/quantized-linear.ts';
import type { TensorEntry } from './schema.ts';
import type { PackedDtype } from './types.ts';

// The numbers of docs/format.md; those of codes and scales stand beside the quantizers, which estimate with them.
export {
  alignment,
  base3GroupBytes,
  bytesPerLine,
  codeLayoutOf,
  columnsPerLine,
  lineCount,
  padded,
  planeCountOf,
  residualLevels,
  rowGroupCount,
  rowsPerGroup,
} from '../quantize/code-storage.ts';

/** Columns of a table of 8, 6 or 4 bits that share a scale. */
export const columnsPerTableGroup = 32;
/** Values of a structured linear's row and block. */
export const structuredLevelCount = 7;
/** Bytes of a block's column mask: 128 bits. */
export const maskBytesPerBlock = 16;

export const modelFileName = 'model.safetensors';

export const elementBytes: Record<PackedDtype, number> = { U8: 1, I8: 1, I32: 4, F16: 2, F32: 4 };

export const tableGroupCount = (columns: number): number => Math.ceil(columns / columnsPerTableGroup);
/** Lines of 64 bytes that 16 rows × 32 columns of a table take. */
export const tableLineCount = (bits: 6 | 4): number => bits;
/** A tensor as it is to stand in model.safetensors. */
export interface PlannedTensor {
  name: string;
  dtype: PackedDtype;
  /** True shape, without padding. */
  shape: number[];
}

export function valueBytesOf(tensor: PlannedTensor): number {
  return tensor.shape.reduce((product, size) => product * size, elementBytes[tensor.dtype]);
}

/**
 * The shape in the safetensors header: the true one where its bytes are a multiple of 64, else one dimension that holds the padding too,
 * since safetensors allows no gaps between tensors.
 */
export function storedShapeOf(tensor: PlannedTensor): number[] {
  const bytes = valueBytesOf(tensor);
  return bytes % alignment === 0 ? tensor.shape : [padded(bytes) / elementBytes[tensor.dtype]];
}

/** Names of a quantized linear's tensors begin with its module name and this. */
const linearPart = (name: string, part: string): string => `${name}.dbell.${part}`;

/** Tensors that an entry of `quantization_config.tensors` stands for, in the order in which they are written. */
export function plannedTensors(name: string, entry: TensorEntry): PlannedTensor[] {
  if (entry.layout === 'float') return [{ name, dtype: entry.dtype, shape: [...entry.shape] }];
  const [rows, columns] = entry.shape;
  if (entry.layout === 'table') {
    if (entry.bits === 16) return [{ name, dtype: 'F16', shape: [rows, columns] }];
    const groups = tableGroupCount(columns);
    if (entry.bits !== 8) {
      const rowGroups = rowGroupCount(rows);
      return [
        {
          name: `${name}.dbell.codes`,
          dtype: 'U8',
          shape: [rowGroups, groups, tableLineCount(entry.bits), bytesPerLine],
        },
        { name: `${name}.dbell.scales`, dtype: 'F16', shape: [rowGroups, groups, rowsPerGroup] },
      ];
    }
    return [
      { name: `${name}.dbell.codes`, dtype: 'I8', shape: [rows, groups * columnsPerTableGroup] },
      { name: `${name}.dbell.scales`, dtype: 'F16', shape: [rows, groups] },
    ];
  }
  const rowGroups = rowGroupCount(rows);
  const blocks = blockCount(columns);
  const isGrid = entry.layout === 'grid' || entry.layout === 'grid-table';
  const planned: PlannedTensor[] = [];
  const add = (part: string, dtype: PackedDtype, ...shape: number[]) =>
    planned.push({ name: linearPart(name, part), dtype, shape });
  if (isGrid && entry.codes === 'base-3') add('base3', 'U8', rowGroups, base3GroupBytes(columns));
  else add('planes', 'U8', rowGroups, lineCount(columns), entry.planes, bytesPerLine);
  if (isGrid) add('scales', 'F16', rowGroups, blocks, rowsPerGroup);
  if (entry.layout === 'grid-table') return planned;
  if (entry.layout === 'grid') {
    if (entry.offsets) add('offsets', 'F16', rowGroups, blocks, rowsPerGroup);
    const count = entry.residual_columns;
    if (count !== undefined) {
      add('residual_columns', 'I32', count);
      add('residual_planes', 'U8', rowGroups, lineCount(count), planeCountOf(residualLevels), bytesPerLine);
      add('residual_scales', 'F16', rowGroups, blockCount(count), rowsPerGroup);
    }
  } else {
    add('levels', 'F16', rowGroups, blocks, structuredLevelCount, rowsPerGroup);
    add('salient_mask', 'U8', blocks, maskBytesPerBlock);
  }
  if (entry.column_scale) add('column_scale', 'F32', columns);
  if (entry.layout === 'grid' && entry.row_scale) add('row_scale', 'F32', rows);
  if (entry.bias) add('bias', 'F32', rows);
  return planned;
}

/** One thing that a package holds, as the architecture asks for it; the order is the file's. */
export type ExpectedEntry =
  | { kind: 'linear'; name: string; linear: Linear; blockIndex: number }
  | { kind: 'table'; name: string; shape: [number, number] }
  | { kind: 'float'; name: string; shape: number[]; dtype: 'F32' | 'F16' };

/** Everything that a package of this architecture must hold, and nothing else may be in it. */
export function expectedEntries(architecture: Architecture, family: Family): ExpectedEntry[] {
  const linears = new Map<string, { linear: Linear; blockIndex: number }>();
  const linearBiases = new Set<string>();
  for (const block of architecture.blocks) {
    for (const linear of linearsOf(block)) {
      linears.set(`${linear.name}.weight`, { linear, blockIndex: block.index });
      if (linear.bias !== null) linearBiases.add(linear.bias);
    }
  }
  const { embedding, head, position } = architecture;
  const tables = new Set([embedding.table, head.weight]);
  // 16 bits are what checkpoints store them at; they are not small in OPT.
  const halfNames = new Set<string | null>([embedding.projectIn, embedding.projectOut]);
  if (position.kind === 'learned') halfNames.add(position.table);
  const entries: ExpectedEntry[] = [];
  for (const tensor of expectedTensors(architecture, family)) {
    const quantized = linears.get(tensor.name);
    if (quantized !== undefined) entries.push({ kind: 'linear', name: quantized.linear.name, ...quantized });
    else if (linearBiases.has(tensor.name)) continue;
    else if (tables.has(tensor.name))
      entries.push({ kind: 'table', name: tensor.name, shape: shapeOf(tensor) as [number, number] });
    else
      entries.push({
        kind: 'float',
        name: tensor.name,
        shape: shapeOf(tensor),
        dtype: halfNames.has(tensor.name) ? 'F16' : 'F32',
      });
  }
  return entries;
}

function shapeOf(tensor: ExpectedTensor): number[] {
  return tensor.dimensions.map((dimension) => dimension.size);
}
