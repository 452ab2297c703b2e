import { DBellError } from '../contract/errors.ts';
import { unpackTernaryRow } from './bitnet.ts';
import { lowBitBlocks, lowBitScale } from './gguf/low-bit-blocks.ts';
import { quote } from './problems.ts';
import type { LowBitWeight } from './source.ts';
import { deinterleave, type WeightLocation } from './weight-location.ts';

/** Columns within which a float weight's magnitudes must agree to count as low-bit: a block of the packed format. */
export const detectionGroupSize = 128;

/** Codes and scales of a weight whose stored type has them, in the row order of Hugging Face; null for every other type. */
export function readStoredLowBit(name: string, location: WeightLocation): LowBitWeight | null {
  const [rows = 0, columns = 0] = location.shape;
  if (location.ternary !== undefined) return readTernary(name, location);
  const block = lowBitBlocks[location.storedType];
  if (block === undefined || location.shape.length !== 2) return null;
  const groups = columns / block.elements;
  const codes = new Uint8Array(rows * columns);
  const scales = new Float32Array(rows * groups);
  const bytes = new Uint8Array(groups * block.bytes);
  const headRows = location.interleavedHeads === undefined ? rows : rows / location.interleavedHeads;
  const sourceRow = location.interleavedHeads === undefined ? (row: number) => row : deinterleave(headRows);
  let largest = 0;
  for (let row = 0; row < rows; row++) {
    const stored = row - (row % headRows) + sourceRow(row % headRows);
    location.source.readInto(location.position + stored * bytes.length, bytes);
    for (let group = 0; group < groups; group++) {
      const scale = lowBitScale(block, bytes, group * block.bytes);
      if (!Number.isFinite(scale))
        throw new DBellError(
          'invalid-model',
          `${location.source.name}: tensor ${quote(name)} has the scale ${scale} in row ${row}, columns ${group * block.elements} …; the file is damaged`,
        );
      scales[row * groups + group] = scale;
      block.unpack(bytes, group * block.bytes, codes, row * columns + group * block.elements);
    }
  }
  for (const code of codes) if (code > largest) largest = code;
  const levels = block.levels === 2 ? 2 : largest > 2 ? 4 : 3;
  return { levels, codes, scales, groupSize: block.elements };
}

function readTernary(name: string, location: WeightLocation): LowBitWeight {
  const [rows = 0, columns = 0] = location.shape;
  const codes = new Uint8Array(rows * columns);
  const packed = new Uint8Array(columns);
  for (let row = 0; row < rows; row++)
    unpackTernaryRow(name, location, row, packed, codes.subarray(row * columns, (row + 1) * columns));
  const scales = new Float32Array(rows).fill(location.ternary?.scale ?? 1);
  return { levels: 3, codes, scales, groupSize: columns };
}

/**
 * Finds out whether float weights have two or three levels around zero in every row and group of 128 columns: all magnitudes equal, zeros aside. Negative zero
 * counts as zero.
 *
 * @param values `[rows, columns]`
 * @returns codes and scales, or where the first row is that has more levels
 */
export function detectLowBit(
  values: Float32Array,
  rows: number,
  columns: number,
): LowBitWeight | { row: number; column: number } {
  const groups = Math.ceil(columns / detectionGroupSize);
  const scales = new Float32Array(rows * groups);
  let hasZero = false;
  for (let row = 0; row < rows; row++)
    for (let group = 0; group < groups; group++) {
      let scale = 0;
      const end = Math.min(columns, (group + 1) * detectionGroupSize);
      for (let column = group * detectionGroupSize; column < end; column++) {
        const magnitude = Math.abs(values[row * columns + column]!);
        if (magnitude === 0) hasZero = true;
        else if (scale === 0) scale = magnitude;
        else if (magnitude !== scale) return { row, column };
      }
      scales[row * groups + group] = scale;
    }
  const codes = new Uint8Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    codes[i] = hasZero ? (value > 0 ? 2 : value < 0 ? 0 : 1) : value > 0 ? 1 : 0;
  }
  return { levels: hasZero ? 3 : 2, codes, scales, groupSize: detectionGroupSize };
}
