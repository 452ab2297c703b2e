import { blockCount, columnsPerBlock } from './quantized-linear.ts';

/** How codes and scales of a linear lie on disk (docs/format.md section 3): what writer, reader and estimate agree on. */
export const rowsPerGroup = 16;
export const columnsPerLine = 32;
/** One plane of 16 rows × 32 columns. */
export const bytesPerLine = 64;
/** Every tensor, and the data section itself, begins at a multiple of this: a cache line, and what AVX-512 loads want. */
export const alignment = 64;
/** Base-3 digits in a byte: 3^5 = 243 values. */
const digitsPerByte = 5;
/** Residual columns are stored in two levels. */
export const residualLevels = 2;

export const rowGroupCount = (outFeatures: number): number => Math.ceil(outFeatures / rowsPerGroup);
export const lineCount = (inFeatures: number): number => Math.ceil(inFeatures / columnsPerLine);
/** Planes that codes below `levels` take. */
export const planeCountOf = (levels: number): number => Math.max(1, Math.ceil(Math.log2(levels)));
/** With the zeros behind a tensor. */
export const padded = (bytes: number): number => Math.ceil(bytes / alignment) * alignment;

/** Bytes of a row group's codes in base 3; the digits of a byte never leave its block of 128 columns. */
export function base3GroupBytes(inFeatures: number): number {
  const rest = inFeatures % columnsPerBlock;
  const wholeBlocks = (inFeatures - rest) / columnsPerBlock;
  const rowBytes = wholeBlocks * Math.ceil(columnsPerBlock / digitsPerByte) + Math.ceil(rest / digitsPerByte);
  return rowsPerGroup * rowBytes;
}

function planeBytes(levels: number, outFeatures: number, inFeatures: number): number {
  return rowGroupCount(outFeatures) * lineCount(inFeatures) * planeCountOf(levels) * bytesPerLine;
}

/** How the writer stores the codes of a grid: three levels in base 3 where that is smaller on disk, everything else in planes. */
export function codeLayoutOf(levels: number, outFeatures: number, inFeatures: number): 'planes' | 'base-3' {
  if (levels !== 3) return 'planes';
  const base3Bytes = rowGroupCount(outFeatures) * base3GroupBytes(inFeatures);
  return padded(base3Bytes) < padded(planeBytes(levels, outFeatures, inFeatures)) ? 'base-3' : 'planes';
}

/** Bytes of a linear's codes on disk, padding included. */
export function storedCodeBytes(levels: number, outFeatures: number, inFeatures: number): number {
  return codeLayoutOf(levels, outFeatures, inFeatures) === 'base-3'
    ? padded(rowGroupCount(outFeatures) * base3GroupBytes(inFeatures))
    : padded(planeBytes(levels, outFeatures, inFeatures));
}

/** Bytes of `perBlock` fp16 values for each row and block on disk, padding included. */
export function storedRowValueBytes(outFeatures: number, inFeatures: number, perBlock: number): number {
  const float16Bytes = 2;
  return padded(rowGroupCount(outFeatures) * rowsPerGroup * blockCount(inFeatures) * perBlock * float16Bytes);
}

/** Bytes of a residual over `count` columns on disk: their list, one plane, one scale for each row and 128 of them. */
export function storedResidualBytes(outFeatures: number, count: number): number {
  const int32Bytes = 4;
  return (
    padded(count * int32Bytes) +
    storedCodeBytes(residualLevels, outFeatures, count) +
    storedRowValueBytes(outFeatures, count, 1)
  );
}

/** Columns that `percent` of a linear's are: to the nearest, but at least one where it is not zero. */
export function residualColumnCount(percent: number, inFeatures: number): number {
  return percent === 0 ? 0 : Math.max(1, Math.round((percent / 100) * inFeatures));
}
