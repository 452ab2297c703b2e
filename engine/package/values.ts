import type { ByteSource } from '../model/byte-source.ts';
import { type ProblemList, quote } from '../model/problems.ts';
import { packing } from '../native/packing.ts';
import { blockCount, columnsPerBlock } from '../quantize/quantized-linear.ts';
import {
  base3GroupBytes,
  bytesPerLine,
  columnsPerLine,
  columnsPerTableGroup,
  lineCount,
  maskBytesPerBlock,
  planeCountOf,
  residualLevels,
  rowGroupCount,
  rowsPerGroup,
  tableLineCount,
} from './layout.ts';
import { checkChunkBytes } from './limits.ts';
import { firstColumnOutOfOrder, float32Of, halfsOf, int32Of } from './pack-linear.ts';
import type { PackedLinear, PackedResidual, PackedTable, TensorLocation } from './types.ts';

/** Extent of a matrix of codes. */
type Matrix = Pick<PackedLinear, 'outFeatures' | 'inFeatures'>;

/**
 * Checks the stored values themselves: padding is zero, codes are below their levels, fp16 and float32 values are finite. Files are read in pieces;
 * planes only where a fault is possible (an unused code or padding exists). The first fault of each tensor is recorded.
 */
export class ValueChecker {
  readonly #file: ByteSource;
  readonly #problems: ProblemList;
  /** Values that the checker has looked at, in bytes. */
  checkedBytes = 0;

  constructor(file: ByteSource, problems: ProblemList) {
    this.#file = file;
    this.#problems = problems;
  }

  linear(linear: PackedLinear): void {
    if (linear.codeLayout === 'base-3') this.#base3(linear);
    else this.#planes(linear.codes, linear, linear.layout === 'grid' ? linear.levels : 4);
    this.#tail(linear.codes);
    if (linear.layout === 'grid') {
      this.#rowValues(linear, linear.scales, 1);
      if (linear.offsets !== null) this.#rowValues(linear, linear.offsets, 1);
      if (linear.residual !== null) this.#residual(linear, linear.residual);
    } else {
      this.#rowValues(linear, linear.levels, 7);
      this.#mask(linear.salientMask, linear.inFeatures);
    }
    const rowScale = linear.layout === 'grid' ? linear.rowScale : null;
    for (const location of [linear.columnScale, rowScale, linear.bias])
      if (location !== null) this.float(location);
  }

  table(table: PackedTable): void {
    if (table.bits === 'grid') {
      this.linear(table.linear);
      return;
    }
    if (table.bits === 16) {
      this.float(table.values);
      return;
    }
    if (table.bits === 8) {
      this.float(table.scales);
      this.#tableCodes(table.codes, table.columns);
    } else {
      this.#tableLines(table);
      const shape = { outFeatures: table.rows, rowGroups: rowGroupCount(table.rows), blocks: table.groups };
      this.#rowValues(shape, table.scales, 1, 'group');
    }
  }

  /** F16 or F32 values are finite and what follows them is zero. */
  float(location: TensorLocation): void {
    for (const { bytes, begin } of this.#pieces(location)) {
      const values = location.dtype === 'F16' ? halfsOf(bytes) : float32Of(bytes);
      const bad = packing.firstNonFinite(values);
      if (bad === -1) continue;
      const index = begin / values.BYTES_PER_ELEMENT + bad;
      this.#fault(location, `value ${index} is not finite`);
      break;
    }
    this.#tail(location);
  }

  #planes(location: TensorLocation, matrix: Matrix, levels: number): void {
    const { outFeatures, inFeatures } = matrix;
    const planeCount = planeCountOf(levels);
    const everyCodeValid = levels === 2 ** planeCount;
    if (everyCodeValid && outFeatures % rowsPerGroup === 0 && inFeatures % columnsPerLine === 0) return;
    const groupBytes = lineCount(inFeatures) * planeCount * bytesPerLine;
    for (const { bytes, firstRow, rows } of this.#rowGroups(location, groupBytes, outFeatures)) {
      const fault = packing.checkPlanes(bytes, rows, inFeatures, planeCount, levels);
      if (fault === null) continue;
      const at = `row ${firstRow + fault.row}, column ${fault.column}`;
      this.#fault(
        location,
        fault.kind === 'padding-not-zero'
          ? `the padding at ${at} of [${outFeatures}, ${inFeatures}] is not zero`
          : `code ${fault.code} at ${at} is not below ${levels}`,
      );
      return;
    }
  }

  /** Cheap: looks for bytes that are no five digits of base 3 alone, and only where there is one for its place. */
  base3Bytes(linear: PackedLinear): void {
    if (linear.codeLayout !== 'base-3') return;
    for (const { bytes } of this.#pieces(linear.codes))
      if (packing.hasBase3ByteOutOfRange(bytes)) {
        this.#base3(linear);
        return;
      }
  }

  #base3({ codes, outFeatures, inFeatures }: PackedLinear): void {
    for (const { bytes, firstRow, rows } of this.#rowGroups(
      codes,
      base3GroupBytes(inFeatures),
      outFeatures,
    )) {
      const fault = packing.checkBase3(bytes, rows, inFeatures);
      if (fault === null) continue;
      const at = `row ${firstRow + fault.row}, column ${fault.column}`;
      this.#fault(
        codes,
        fault.kind === 'padding-not-zero'
          ? `the padding at ${at} of [${outFeatures}, ${inFeatures}] is not zero`
          : `byte ${fault.code} at ${at} is more than five digits of base 3 give (242)`,
      );
      return;
    }
  }

  #residual({ outFeatures, inFeatures }: PackedLinear, residual: PackedResidual): void {
    const { count, columns, planes, scales } = residual;
    const listed = int32Of(this.#read(columns.offset, columns.valueBytes));
    const bad = firstColumnOutOfOrder(listed, inFeatures);
    if (bad !== -1) {
      const column = listed[bad] ?? 0;
      this.#fault(
        columns,
        column < 0 || column >= inFeatures
          ? `value ${bad} is column ${column} of ${inFeatures} columns`
          : `value ${bad} is column ${column}, which is not above column ${listed[bad - 1]} in front of it`,
      );
    }
    this.#tail(columns);
    this.#planes(planes, { outFeatures, inFeatures: count }, residualLevels);
    this.#tail(planes);
    this.#rowValues(
      { outFeatures, rowGroups: rowGroupCount(outFeatures), blocks: blockCount(count) },
      scales,
      1,
    );
  }

  /** Whole row groups of a tensor, in pieces, with the first row and the number of true rows of each. */
  *#rowGroups(
    location: TensorLocation,
    groupBytes: number,
    outFeatures: number,
  ): Generator<{ bytes: Uint8Array; firstRow: number; rows: number }> {
    const groupsPerPiece = Math.max(1, Math.floor(checkChunkBytes / groupBytes));
    const rowGroups = rowGroupCount(outFeatures);
    for (let group = 0; group < rowGroups; group += groupsPerPiece) {
      const groups = Math.min(groupsPerPiece, rowGroups - group);
      const firstRow = group * rowsPerGroup;
      const rows = Math.min(groups * rowsPerGroup, outFeatures - firstRow);
      yield { bytes: this.#read(location.offset + group * groupBytes, groups * groupBytes), firstRow, rows };
    }
  }

  /** `[rowGroups, blocks, perBlock, 16]`: finite, rows beyond the last are zero. */
  #rowValues(
    linear: Pick<PackedLinear, 'outFeatures' | 'rowGroups' | 'blocks'>,
    location: TensorLocation,
    perBlock: number,
    block = 'block',
  ): void {
    const perGroup = linear.blocks * perBlock * rowsPerGroup;
    for (const { bytes, begin } of this.#pieces(location)) {
      const values = halfsOf(bytes);
      const bad = packing.firstNonFinite(values);
      if (bad !== -1) {
        const index = begin / 2 + bad;
        const row = Math.floor(index / perGroup) * rowsPerGroup + (index % rowsPerGroup);
        const number = Math.floor((index % perGroup) / (perBlock * rowsPerGroup));
        this.#fault(location, `the value of row ${row}, ${block} ${number} is not finite`);
        return;
      }
    }
    const rowsInLast = linear.outFeatures - (linear.rowGroups - 1) * rowsPerGroup;
    if (rowsInLast < rowsPerGroup) {
      const last = halfsOf(this.#read(location.offset + (linear.rowGroups - 1) * perGroup * 2, perGroup * 2));
      const set = last.findIndex((value, index) => index % rowsPerGroup >= rowsInLast && value !== 0);
      if (set !== -1) {
        const row = (linear.rowGroups - 1) * rowsPerGroup + (set % rowsPerGroup);
        this.#fault(location, `the padding row ${row} of ${linear.outFeatures} rows is not zero`);
        return;
      }
    }
    this.#tail(location);
  }

  #mask(location: TensorLocation, inFeatures: number): void {
    const mask = this.#read(location.offset, location.valueBytes);
    for (let column = inFeatures; column < (mask.length / maskBytesPerBlock) * columnsPerBlock; column += 1) {
      if ((((mask[column >> 3] ?? 0) >> (column & 7)) & 1) === 0) continue;
      this.#fault(location, `the padding column ${column} of ${inFeatures} columns is marked salient`);
      return;
    }
    this.#tail(location);
  }

  /** Codes of 6 and 4 bits: every field is a code, so only padding can be wrong. */
  #tableLines({ codes, rows, columns, groups, bits }: Extract<PackedTable, { bits: 6 | 4 }>): void {
    const groupBytes = groups * tableLineCount(bits) * bytesPerLine;
    const step = Math.max(1, Math.floor(checkChunkBytes / groupBytes)) * rowsPerGroup;
    if (columns % columnsPerTableGroup !== 0 || rows % rowsPerGroup !== 0) {
      for (let begin = 0; begin < rows; begin += step) {
        const count = Math.min(step, rows - begin);
        const position = codes.offset + (begin / rowsPerGroup) * groupBytes;
        const lines = this.#read(position, rowGroupCount(count) * groupBytes);
        const fault = packing.findTablePadding(lines, count, columns, bits);
        if (fault === null) continue;
        this.#fault(
          codes,
          `the padding at row ${begin + fault.row}, column ${fault.column} of [${rows}, ${columns}] is not zero`,
        );
        return;
      }
    }
    this.#tail(codes);
  }

  #tableCodes(location: TensorLocation, columns: number): void {
    const rowBytes = Math.ceil(columns / columnsPerTableGroup) * columnsPerTableGroup;
    const rows = location.valueBytes / rowBytes;
    const step = Math.max(1, Math.floor(checkChunkBytes / rowBytes));
    for (let begin = 0; begin < rows; begin += step) {
      const codes = this.#read(location.offset + begin * rowBytes, Math.min(step, rows - begin) * rowBytes);
      for (let index = 0; index < codes.length; index += 1) {
        const code = codes[index];
        const column = index % rowBytes;
        if (code === 0 || (code !== 0x80 && column < columns)) continue;
        const row = begin + Math.floor(index / rowBytes);
        this.#fault(
          location,
          column >= columns
            ? `the padding column ${column} of row ${row} is not zero`
            : `code -128 at row ${row}, column ${column} is out of range (-127 to 127)`,
        );
        return;
      }
    }
    this.#tail(location);
  }

  /** Bytes between the last value and the next tensor. */
  #tail(location: TensorLocation): void {
    const bytes = location.byteLength - location.valueBytes;
    if (bytes > 0 && this.#read(location.offset + location.valueBytes, bytes).some((byte) => byte !== 0))
      this.#fault(location, 'the padding behind the values is not zero');
  }

  *#pieces(location: TensorLocation): Generator<{ bytes: Uint8Array; begin: number }> {
    for (let begin = 0; begin < location.valueBytes; begin += checkChunkBytes) {
      const length = Math.min(checkChunkBytes, location.valueBytes - begin);
      yield { bytes: this.#read(location.offset + begin, length), begin };
    }
  }

  #read(position: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.#file.readInto(position, bytes);
    this.checkedBytes += length;
    return bytes;
  }

  #fault(location: TensorLocation, what: string): void {
    this.#problems.error('value', `model.safetensors: tensor ${quote(location.name)}: ${what}`);
  }
}
