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
}

export const packing = loadAddon() as NativePacking;
