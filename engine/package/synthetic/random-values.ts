import type { SeededRandom } from '../../model/seeded-random.ts';
import { packing } from '../../native/packing.ts';
import {
  codeLayoutOf,
  type PlannedTensor,
  planeCountOf,
  rowGroupCount,
  rowsPerGroup,
  valueBytesOf,
} from '../layout.ts';
import { bytesOf } from '../pack-linear.ts';

/** Row groups that are made at random; more of them are these again. No processor's time depends on it. */
const pooledRowGroups = 16;
/** Bytes that are random; longer stretches are these again. A prime, so that nothing lines up. */
const pooledBytes = 131_071;

/** Of everything random: the same shape has the same weights every time. */
export const syntheticSeed = 20_261_127;

/** fp16 bits of a value. */
export function halfOf(value: number): number {
  return packing.floatsToHalfs(Float32Array.of(value)).halfs[0] ?? 0;
}

/** Random bytes, the same for the same generator; `limit`: each below it. */
export function randomBytePool(random: SeededRandom, limit = 256): Uint8Array {
  return Uint8Array.from({ length: pooledBytes }, () => Math.floor(random.nextDouble() * limit));
}

/** `length` bytes that repeat a pool, in pieces. */
export function* repeated(pool: Uint8Array, length: number): Generator<Uint8Array> {
  for (let done = 0; done < length; done += pool.length)
    yield length - done >= pool.length ? pool : pool.subarray(0, length - done);
}

/**
 * Codes of a grid `[rows, columns]` as they are stored, padding zero: a few random row groups over and over, the last one with the rows that are left.
 */
export function* randomGridCodes(
  random: SeededRandom,
  levels: number,
  rows: number,
  columns: number,
): Generator<Uint8Array> {
  const pack = (count: number): Uint8Array => {
    const codes = Uint8Array.from({ length: count * columns }, () => random.nextUint32() % levels);
    return codeLayoutOf(levels, rows, columns) === 'base-3'
      ? packing.packBase3(codes, count, columns)
      : packing.packPlanes(codes, count, columns, planeCountOf(levels));
  };
  yield* repeatedRowGroups(rows, pack);
}

/** `rows` rows that `pack` makes: a few whole row groups over and over, the last one with the rows that are left. */
function* repeatedRowGroups(rows: number, pack: (count: number) => Uint8Array): Generator<Uint8Array> {
  const whole = Math.floor(rows / rowsPerGroup);
  const count = Math.min(whole, pooledRowGroups);
  if (count > 0) {
    const pool = pack(count * rowsPerGroup);
    yield* repeated(pool, (pool.length / count) * whole);
  }
  if (rows % rowsPerGroup !== 0) yield pack(rows % rowsPerGroup);
}

/**
 * fp16 scales `[rowGroups, blocks, 16]` between 3/4 and 5/4 of `step`, zero in the rows beyond the last.
 */
export function randomScales(
  random: SeededRandom,
  planned: PlannedTensor,
  rows: number,
  step: number,
): Uint8Array {
  const values = new Float32Array(valueBytesOf(planned) / 2);
  const perGroup = values.length / rowGroupCount(rows);
  for (let index = 0; index < values.length; index += 1) {
    const row = Math.floor(index / perGroup) * rowsPerGroup + (index % rowsPerGroup);
    values[index] = row < rows ? step * (0.75 + random.nextDouble() / 2) : 0;
  }
  return bytesOf(packing.floatsToHalfs(values).halfs);
}

/** fp16 scales `[rows, groups]` of a table of 8 bits. */
export function randomTableScales(random: SeededRandom, planned: PlannedTensor, step: number): Uint8Array {
  const values = Float32Array.from(
    { length: valueBytesOf(planned) / 2 },
    () => step * (0.75 + random.nextDouble() / 2),
  );
  return bytesOf(packing.floatsToHalfs(values).halfs);
}

/** Lines of a table of 6 or 4 bits `[rowGroups, groups, bits, 64]`, padding zero. */
export function* randomTableLines(
  random: SeededRandom,
  bits: 6 | 4,
  rows: number,
  columns: number,
  groups: number,
): Generator<Uint8Array> {
  const pack = (count: number): Uint8Array => {
    const codes = Uint8Array.from({ length: count * columns }, () => random.nextUint32() % 2 ** bits);
    return packing.packTable(codes, new Uint16Array(count * groups), count, columns, bits).lines;
  };
  yield* repeatedRowGroups(rows, pack);
}

/** Standard deviation of codes that are uniform among so many levels, in steps. */
export function codeDeviation(levels: number): number {
  return Math.sqrt((levels ** 2 - 1) / 12);
}
