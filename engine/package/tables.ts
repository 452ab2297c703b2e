import { DBellError } from '../contract/errors.ts';
import type { ModelSource } from '../model/source.ts';
import { packing } from '../native/packing.ts';
import { tableChunkBytes } from './limits.ts';
import { bytesOf } from './pack-linear.ts';

/** Rows of a 2-D tensor that are handled at a time. */
function rowsPerChunk(columns: number): number {
  return Math.max(1, Math.floor(tableChunkBytes / (4 * columns)));
}

/** A 2-D tensor in pieces of whole rows. */
export function* rowChunks(source: ModelSource, name: string, rows: number, columns: number) {
  const step = rowsPerChunk(columns);
  for (let begin = 0; begin < rows; begin += step) {
    const count = Math.min(step, rows - begin);
    yield { begin, count, values: source.readRowsFloat32(name, begin, count) };
  }
}

function overflowError(name: string, row: number, column: number, value: number | undefined, advice: string) {
  return new DBellError(
    'unsupported-model',
    `${name}: value ${value} at row ${row}, column ${column} does not fit fp16 (largest value 65504)${advice}`,
  );
}

/** A 2-D tensor rounded to fp16 (nearest, ties to even), piece by piece. Throws DBellError `unsupported-model` on a value that overflows. */
export function* encodeHalfRows(
  source: ModelSource,
  name: string,
  rows: number,
  columns: number,
  advice = '',
): Generator<Uint8Array> {
  for (const { begin, values } of rowChunks(source, name, rows, columns)) {
    const { halfs, firstOverflow } = packing.floatsToHalfs(values);
    if (firstOverflow !== -1) {
      const row = begin + Math.floor(firstOverflow / columns);
      throw overflowError(name, row, firstOverflow % columns, values[firstOverflow], advice);
    }
    yield bytesOf(halfs);
  }
}

/** Embedding or head at 16 bits; the message of an overflow names the way out. */
export function encodeTable16(source: ModelSource, name: string, rows: number, columns: number) {
  return encodeHalfRows(source, name, rows, columns, '; use 8 embedding bits, which scale each group');
}

/**
 * Embedding or head at 8 bits: first all codes, then all scales (docs/format.md). Only the scales, a sixteenth of the table's fp16 bytes, are held.
 */
export function* encodeTable8(
  source: ModelSource,
  name: string,
  rows: number,
  columns: number,
): Generator<{ part: 'codes' | 'scales'; bytes: Uint8Array }> {
  const allScales: Uint16Array[] = [];
  for (const { begin, count, values } of rowChunks(source, name, rows, columns)) {
    const { codes, scales, firstOverflow } = packing.quantizeTable8(values, count, columns);
    if (firstOverflow !== -1) {
      const row = begin + Math.floor(firstOverflow / columns);
      throw overflowError(name, row, firstOverflow % columns, values[firstOverflow], ' times 127');
    }
    allScales.push(scales);
    yield { part: 'codes', bytes: bytesOf(codes) };
  }
  for (const scales of allScales) yield { part: 'scales', bytes: bytesOf(scales) };
}

/**
 * Reads every table that a package would hold and throws DBellError `unsupported-model` where a value fits neither fp16 nor the 8-bit form: worth
 * calling before long work starts. Takes as long as reading the tables.
 */
export function checkTablesFit(source: ModelSource, embeddingBits: 16 | 8): void {
  const { embedding, head, position, vocabularySize, hiddenSize, contextLength } = source.architecture;
  const columns = embedding.embeddingSize;
  for (const name of new Set([embedding.table, head.weight])) {
    const pieces =
      embeddingBits === 16
        ? encodeTable16(source, name, vocabularySize, columns)
        : encodeTable8(source, name, vocabularySize, columns);
    drain(pieces);
  }
  if (embedding.projectIn !== null) drain(encodeHalfRows(source, embedding.projectIn, hiddenSize, columns));
  if (embedding.projectOut !== null) drain(encodeHalfRows(source, embedding.projectOut, columns, hiddenSize));
  if (position.kind === 'learned')
    drain(encodeHalfRows(source, position.table, contextLength + position.offset, hiddenSize));
}

function drain(pieces: Iterable<unknown>): void {
  for (const _ of pieces);
}
