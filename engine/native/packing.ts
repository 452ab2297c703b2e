import { loadAddon } from './index.ts';

/**
 * The byte order of packed weights and the conversions around it (docs/format.md). Calls block their thread and use the native thread
 * pool; results do not depend on the number of threads. fp16 values are bits in a Uint16Array.
 */
export interface NativePacking {
  /** Codes `[rows, columns]` → planes `[ceil(rows/16), ceil(columns/32), planes, 64]`, padding zero. */
  packPlanes(codes: Uint8Array, rows: number, columns: number, planes: number): Uint8Array;
  /** The inverse; padding is not looked at. */
  unpackPlanes(bytes: Uint8Array, rows: number, columns: number, planes: number): Uint8Array;
  /** First code ≥ levels or set padding bit of planes that come from a file, or null. */
  checkPlanes(
    bytes: Uint8Array,
    rows: number,
    columns: number,
    planes: number,
    levels: number,
  ): { kind: 'code-out-of-range' | 'padding-not-zero'; row: number; column: number; code: number } | null;
  /** Codes `[rows, columns]` of three levels → base-3 bytes `[ceil(rows/16), 16 · bytes of a row]`, padding zero. */
  packBase3(codes: Uint8Array, rows: number, columns: number): Uint8Array;
  /** The inverse; padding is not looked at. */
  unpackBase3(bytes: Uint8Array, rows: number, columns: number): Uint8Array;
  /** Whether any byte is ≥ 243: a plain scan, many times faster than `checkBase3`. */
  hasBase3ByteOutOfRange(bytes: Uint8Array): boolean;
  /** First byte ≥ 243 (`code`; `column` is the first of its five) or digit that is not zero in the padding of base-3 bytes that come from a file, or null. */
  checkBase3(
    bytes: Uint8Array,
    rows: number,
    columns: number,
  ): { kind: 'byte-out-of-range' | 'padding-not-zero'; row: number; column: number; code: number } | null;
  /**
   * Rounds to fp16, ties to even. `firstOverflow` is the index of the first value that is not finite or at least 65520, or −1;
   * where it is not −1 the halfs are not all converted.
   */
  floatsToHalfs(values: Float32Array): { halfs: Uint16Array; firstOverflow: number };
  halfsToFloats(halfs: Uint16Array): Float32Array;
  /** Index of the first NaN or infinity of fp16 bits or floats, or −1. */
  firstNonFinite(values: Uint16Array | Float32Array): number;
  /**
   * Row-wise symmetric 8 bits in groups of 32 columns: codes `[rows, groups · 32]`, scales fp16 `[rows, groups]`. `firstOverflow` is the
   * index of the first value that is not finite or whose scale does not fit fp16, or −1.
   */
  quantizeTable8(
    values: Float32Array,
    rows: number,
    columns: number,
  ): { codes: Int8Array; scales: Uint16Array; firstOverflow: number };
  /** `[rows, columns]` = scale · code in float32. */
  dequantizeTable8(codes: Int8Array, scales: Uint16Array, rows: number, columns: number): Float32Array;
  /**
   * Table codes `[rows, columns]` (offset by 2^(bits − 1), below 2^bits) and fp16 scales `[rows, ceil(columns / 32)]` in the order in which they are stored: lines
   * `[ceil(rows / 16), groups, 4 or 6, 64]`, scales `[ceil(rows / 16), groups, 16]`; padding is zero (docs/format.md, section 4).
   */
  packTable(
    codes: Uint8Array,
    scales: Uint16Array,
    rows: number,
    columns: number,
    bits: 6 | 4,
  ): { lines: Uint8Array; scales: Uint16Array };
  /** `[rows, columns]` = scale · code in float32, from what packTable gives. */
  dequantizePackedTable(
    lines: Uint8Array,
    scales: Uint16Array,
    rows: number,
    columns: number,
    bits: 6 | 4,
  ): Float32Array;
  /** First padding entry behind the table's rows or columns that is not zero, or null. */
  findTablePadding(
    lines: Uint8Array,
    rows: number,
    columns: number,
    bits: 6 | 4,
  ): { row: number; column: number } | null;
}

export const packing = loadAddon() as NativePacking;
