import { DBellError } from '../contract/errors.ts';
import { packing } from '../native/packing.ts';
import {
  blockCount,
  columnsPerBlock,
  type GridLinear,
  type GridResidual,
  type QuantizedLinear,
} from '../quantize/quantized-linear.ts';
import {
  codeLayoutOf,
  maskBytesPerBlock,
  planeCountOf,
  plannedTensors,
  residualLevels,
  rowGroupCount,
  rowsPerGroup,
  structuredLevelCount,
} from './layout.ts';
import type { TensorEntry } from './schema.ts';

export type LinearEntry = Extract<TensorEntry, { layout: 'grid' | 'structured' }>;

/** How a linear is to be described in `quantization_config.tensors`. */
export function entryOf(linear: QuantizedLinear): LinearEntry {
  const shared = {
    shape: [linear.outFeatures, linear.inFeatures] as [number, number],
    column_scale: linear.columnScale !== null,
    bias: linear.bias !== null,
  };
  if (linear.layout === 'structured') return { layout: 'structured', planes: 2, ...shared };
  const { levels, outFeatures, inFeatures, residual } = linear;
  const codes = codeLayoutOf(levels, outFeatures, inFeatures);
  return {
    layout: 'grid',
    levels,
    planes: planeCountOf(levels),
    ...(codes === 'base-3' ? { codes } : {}),
    offsets: linear.offsets !== null,
    ...(linear.rowScale ? { row_scale: true as const } : {}),
    ...(residual !== null ? { residual_columns: residual.columns.length } : {}),
    ...shared,
  };
}

/**
 * Packs a linear: bytes of each tensor of `plannedTensors(linear.name, entryOf(linear))`, in that order, without padding at the end. Throws DBellError
 * `internal` where the linear contradicts itself (lengths, codes), `unsupported-model` where a value does not fit its stored type.
 */
export function packLinear(linear: QuantizedLinear): Uint8Array[] {
  checkLengths(linear);
  const entry = entryOf(linear);
  const { outFeatures, inFeatures } = linear;
  checkCodes(linear);
  const tensors = [
    entry.layout === 'grid' && entry.codes === 'base-3'
      ? packing.packBase3(linear.codes, outFeatures, inFeatures)
      : packing.packPlanes(linear.codes, outFeatures, inFeatures, entry.planes),
  ];
  if (linear.layout === 'grid') {
    tensors.push(packRowValues(linear, linear.scales, 1, 'scale'));
    if (linear.offsets !== null) tensors.push(packRowValues(linear, linear.offsets, 1, 'offset'));
    if (linear.residual !== null) tensors.push(...packResidual(linear, linear.residual));
  } else {
    tensors.push(packRowValues(linear, linear.levels, structuredLevelCount, 'level'));
    tensors.push(packMask(linear.salientColumns));
  }
  for (const [part, values] of [
    ['column scale', linear.columnScale],
    ['row scale', linear.layout === 'grid' ? (linear.rowScale ?? null) : null],
    ['bias', linear.bias],
  ] as const) {
    if (values === null) continue;
    const bad = packing.firstNonFinite(values);
    if (bad !== -1)
      throw new DBellError('unsupported-model', `${linear.name}: ${part} ${bad} is ${values[bad]}`);
    tensors.push(bytesOf(values));
  }
  return tensors;
}

/** Rebuilds the linear from the tensors that packLinear gave (bytes without padding). Bytes are not checked here. */
export function unpackLinear(name: string, entry: LinearEntry, tensors: Uint8Array[]): QuantizedLinear {
  const [outFeatures, inFeatures] = entry.shape;
  const byName = new Map(
    plannedTensors(name, entry).map((planned, index) => [planned.name, tensors[index]] as const),
  );
  const part = (suffix: string): Uint8Array => {
    const bytes = byName.get(`${name}.dbell.${suffix}`);
    if (bytes === undefined) throw new Error(`${name}: no bytes for ${suffix}`);
    return bytes;
  };
  const codes =
    entry.layout === 'grid' && entry.codes === 'base-3'
      ? packing.unpackBase3(part('base3'), outFeatures, inFeatures)
      : packing.unpackPlanes(part('planes'), outFeatures, inFeatures, entry.planes);
  const base = {
    name,
    outFeatures,
    inFeatures,
    bias: entry.bias ? float32Of(part('bias')) : null,
    columnScale: entry.column_scale ? float32Of(part('column_scale')) : null,
  };
  const rowValues = (suffix: string, perBlock: number): Uint16Array =>
    unpackRowValues(halfsOf(part(suffix)), outFeatures, inFeatures, perBlock);
  if (entry.layout === 'structured') {
    return {
      ...base,
      layout: 'structured',
      codes,
      levels: rowValues('levels', structuredLevelCount),
      salientColumns: unpackMask(part('salient_mask'), inFeatures),
    };
  }
  return {
    ...base,
    layout: 'grid',
    levels: entry.levels,
    codes,
    scales: rowValues('scales', 1),
    offsets: entry.offsets ? rowValues('offsets', 1) : null,
    ...(entry.row_scale ? { rowScale: float32Of(part('row_scale')) } : {}),
    residual:
      entry.residual_columns === undefined ? null : unpackResidual(outFeatures, entry.residual_columns, part),
  };
}

/** Tensors of the residual columns, in the order of plannedTensors. */
function packResidual(linear: GridLinear, residual: GridResidual): Uint8Array[] {
  const { outFeatures } = linear;
  const count = residual.columns.length;
  return [
    bytesOf(residual.columns),
    packing.packPlanes(residual.codes, outFeatures, count, planeCountOf(residualLevels)),
    packRowValues(
      { name: linear.name, outFeatures, inFeatures: count },
      residual.scales,
      1,
      'residual scale',
    ),
  ];
}

function unpackResidual(
  outFeatures: number,
  count: number,
  part: (suffix: string) => Uint8Array,
): GridResidual {
  return {
    columns: int32Of(part('residual_columns')),
    levels: residualLevels,
    codes: packing.unpackPlanes(part('residual_planes'), outFeatures, count, planeCountOf(residualLevels)),
    scales: unpackRowValues(halfsOf(part('residual_scales')), outFeatures, count, 1),
  };
}

function checkLengths(linear: QuantizedLinear): void {
  const { outFeatures, inFeatures } = linear;
  const blocks = blockCount(inFeatures);
  const lengths: [string, number | undefined, number][] = [
    ['codes', linear.codes.length, outFeatures * inFeatures],
    ['bias', linear.bias?.length, outFeatures],
    ['column scale', linear.columnScale?.length, inFeatures],
  ];
  if (linear.layout === 'grid') {
    lengths.push(['scales', linear.scales.length, outFeatures * blocks]);
    lengths.push(['offsets', linear.offsets?.length, outFeatures * blocks]);
    const { residual } = linear;
    if (linear.rowScale && residual !== null)
      throw new DBellError('internal', `${linear.name}: a row scale and a residual exclude each other`);
    const count = residual?.columns.length ?? 0;
    lengths.push(['row scale', linear.rowScale?.length, outFeatures]);
    lengths.push(['residual codes', residual?.codes.length, outFeatures * count]);
    lengths.push(['residual scales', residual?.scales.length, outFeatures * blockCount(count)]);
  } else {
    lengths.push(['levels', linear.levels.length, outFeatures * blocks * structuredLevelCount]);
    lengths.push(['salient columns', linear.salientColumns.length, inFeatures]);
  }
  for (const [what, actual, expected] of lengths) {
    if (actual !== undefined && actual !== expected)
      throw new DBellError(
        'internal',
        `${linear.name}: ${what} has ${actual} elements, expected ${expected}`,
      );
  }
}

function checkCodes(linear: QuantizedLinear): void {
  const { name, codes, inFeatures } = linear;
  checkBelow(`${name}: code`, codes, inFeatures, linear.layout === 'grid' ? linear.levels : 4);
  if (linear.layout === 'structured' || linear.residual === null) return;
  const { columns, levels } = linear.residual;
  if (columns.length === 0)
    throw new DBellError('internal', `${name}: a residual without columns; it must be null`);
  const bad = firstColumnOutOfOrder(columns, inFeatures);
  if (bad !== -1)
    throw new DBellError(
      'internal',
      `${name}: residual column ${bad} is ${columns[bad]}, which is no higher column of ${inFeatures}`,
    );
  checkBelow(`${name}: residual code`, linear.residual.codes, columns.length, levels);
}

/** Index of the first of a list of columns that is not above the one before it, not 0 or more, or not below `inFeatures`; −1 where all are. */
export function firstColumnOutOfOrder(columns: Int32Array, inFeatures: number): number {
  return columns.findIndex(
    (column, index) => column <= (index === 0 ? -1 : (columns[index - 1] ?? 0)) || column >= inFeatures,
  );
}

/** A code that needs more planes than there are would lose its high bits unseen. */
function checkBelow(what: string, codes: Uint8Array, columns: number, levels: number): void {
  for (let index = 0; index < codes.length; index += 1) {
    const code = codes[index] ?? 0;
    if (code < levels) continue;
    throw new DBellError(
      'internal',
      `${what} ${code} at row ${Math.floor(index / columns)}, column ${index % columns} is not below ${levels}`,
    );
  }
}

/** `[out, blocks, perBlock]` → `[rowGroups, blocks, perBlock, 16]`, padding rows zero. */
function packRowValues(
  linear: { name: string; outFeatures: number; inFeatures: number },
  values: Uint16Array,
  perBlock: number,
  what: string,
): Uint8Array {
  const perRow = blockCount(linear.inFeatures) * perBlock;
  const bad = packing.firstNonFinite(values);
  if (bad !== -1) {
    throw new DBellError(
      'unsupported-model',
      `${linear.name}: a ${what} of row ${Math.floor(bad / perRow)}, block ${Math.floor((bad % perRow) / perBlock)} does not fit fp16 (largest finite value 65504)`,
    );
  }
  const target = new Uint16Array(rowGroupCount(linear.outFeatures) * perRow * rowsPerGroup);
  for (let row = 0; row < linear.outFeatures; row += 1) {
    const base = Math.floor(row / rowsPerGroup) * perRow * rowsPerGroup + (row % rowsPerGroup);
    for (let index = 0; index < perRow; index += 1) {
      target[base + index * rowsPerGroup] = values[row * perRow + index] ?? 0;
    }
  }
  return bytesOf(target);
}

function unpackRowValues(
  stored: Uint16Array,
  outFeatures: number,
  inFeatures: number,
  perBlock: number,
): Uint16Array {
  const perRow = blockCount(inFeatures) * perBlock;
  const values = new Uint16Array(outFeatures * perRow);
  for (let row = 0; row < outFeatures; row += 1) {
    const base = Math.floor(row / rowsPerGroup) * perRow * rowsPerGroup + (row % rowsPerGroup);
    for (let index = 0; index < perRow; index += 1) {
      values[row * perRow + index] = stored[base + index * rowsPerGroup] ?? 0;
    }
  }
  return values;
}

/** `[in]` of 0 and 1 → `[blocks, 16]`, bit b of byte k ↔ column 8k + b of the block. */
function packMask(salientColumns: Uint8Array): Uint8Array {
  const mask = new Uint8Array(blockCount(salientColumns.length) * maskBytesPerBlock);
  for (let column = 0; column < salientColumns.length; column += 1) {
    if (salientColumns[column] === 0) continue;
    const index = maskByteOf(column);
    mask[index] = (mask[index] ?? 0) | (1 << (column % 8));
  }
  return mask;
}

function unpackMask(mask: Uint8Array, inFeatures: number): Uint8Array {
  const salientColumns = new Uint8Array(inFeatures);
  for (let column = 0; column < inFeatures; column += 1) {
    salientColumns[column] = ((mask[maskByteOf(column)] ?? 0) >> (column % 8)) & 1;
  }
  return salientColumns;
}

function maskByteOf(column: number): number {
  return (
    Math.floor(column / columnsPerBlock) * maskBytesPerBlock + Math.floor((column % columnsPerBlock) / 8)
  );
}

/** Numbers as they stand in memory; every supported machine is little-endian, as the format is. */
export function bytesOf(
  values: Uint8Array | Int8Array | Uint16Array | Int32Array | Float32Array,
): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** A view where the alignment allows it, else a copy. */
export function halfsOf(bytes: Uint8Array): Uint16Array {
  const aligned = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  return new Uint16Array(aligned.buffer, aligned.byteOffset, Math.floor(aligned.byteLength / 2));
}

export function float32Of(bytes: Uint8Array): Float32Array {
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  return new Float32Array(aligned.buffer, aligned.byteOffset, Math.floor(aligned.byteLength / 4));
}

export function int32Of(bytes: Uint8Array): Int32Array {
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  return new Int32Array(aligned.buffer, aligned.byteOffset, Math.floor(aligned.byteLength / 4));
}
