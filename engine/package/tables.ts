import type { EmbeddingBits } from '../contract/common.ts';
import { DBellError } from '../contract/errors.ts';
import type { ModelSource } from '../model/source.ts';
import { numerics } from '../native/numerics.ts';
import { packing } from '../native/packing.ts';
import { tableSweeps } from '../quantize/limits.ts';
import type { TableMetric } from '../quantize/table-metric.ts';
import { rowsPerGroup } from './layout.ts';
import { tableChunkBytes } from './limits.ts';
import { bytesOf } from './pack-linear.ts';

/** Rows of a 2-D tensor that are handled at a time; whole groups of 16. */
function rowsPerChunk(columns: number): number {
  return Math.max(1, Math.floor(tableChunkBytes / (4 * columns * rowsPerGroup))) * rowsPerGroup;
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

/** How well a table of 6 or 4 bits fits; filled while it is encoded. */
export interface TableErrors {
  /** tr(E M Eᵀ) and tr(W M Wᵀ); zero without a metric. */
  metricError: number;
  metricNorm: number;
  /** ‖E‖² and ‖W‖². */
  squaredError: number;
  squaredNorm: number;
  /** Scales that were cut to fp16's range. */
  saturatedValues: number;
}

export function noTableErrors(): TableErrors {
  return { metricError: 0, metricNorm: 0, squaredError: 0, squaredNorm: 0, saturatedValues: 0 };
}

/** What was to be encoded, and how. */
export interface TableEncoding {
  source: ModelSource;
  name: string;
  rows: number;
  columns: number;
  bits: EmbeddingBits;
  /** 6 and 4 bits: what an error costs; null: plain rounding. */
  metric: TableMetric | null;
}

/**
 * Embedding or head in the bytes of its tensors (docs/format.md section 4): part 0 is values or codes, part 1 scales. Only the scales, at most a tenth of the table's fp16 bytes,
 * are held. Throws DBellError `unsupported-model` where a value does not fit; the message of an overflow at 16 bits names the way out.
 */
export function* encodeTable(
  encoding: TableEncoding,
  errors: TableErrors = noTableErrors(),
): Generator<{ part: number; bytes: Uint8Array }> {
  const { source, name, rows, columns, bits, metric } = encoding;
  if (bits === 16) {
    const advice = '; use 8 embedding bits, which scale each group';
    for (const bytes of encodeHalfRows(source, name, rows, columns, advice)) yield { part: 0, bytes };
    return;
  }
  const allScales: Uint16Array[] = [];
  for (const { begin, count, values } of rowChunks(source, name, rows, columns)) {
    const encoded =
      bits === 8
        ? packing.quantizeTable8(values, count, columns)
        : packRows(values, count, columns, bits, metric, errors);
    if (encoded.firstOverflow !== -1) {
      const row = begin + Math.floor(encoded.firstOverflow / columns);
      const advice = ` times ${2 ** (bits - 1) - 1}`;
      throw overflowError(name, row, encoded.firstOverflow % columns, values[encoded.firstOverflow], advice);
    }
    allScales.push(encoded.scales);
    yield { part: 0, bytes: bytesOf(encoded.codes) };
  }
  for (const scales of allScales) yield { part: 1, bytes: bytesOf(scales) };
}

/** Rows of a table of 6 or 4 bits, quantized and in stored order; adds to `errors`. */
export function packRows(
  values: Float32Array,
  rows: number,
  columns: number,
  bits: 6 | 4,
  metric: TableMetric | null,
  errors: TableErrors,
): { codes: Uint8Array; scales: Uint16Array; firstOverflow: number } {
  const options = { bits, sweeps: tableSweeps };
  const quantized = numerics.quantizeTable(
    values,
    rows,
    columns,
    metric?.metric ?? null,
    metric?.factor ?? null,
    options,
  );
  const { firstOverflow } = quantized;
  if (firstOverflow !== -1) return { codes: quantized.codes, scales: quantized.scales, firstOverflow };
  for (const key of Object.keys(errors) as (keyof TableErrors)[]) errors[key] += quantized[key];
  const { lines, scales } = packing.packTable(quantized.codes, quantized.scales, rows, columns, bits);
  return { codes: lines, scales, firstOverflow };
}

/**
 * Reads every table that a package would hold and throws DBellError `unsupported-model` where a value fits neither fp16 nor the quantized form: worth
 * calling before long work starts. Takes as long as reading the tables.
 */
export function checkTablesFit(source: ModelSource, embeddingBits: EmbeddingBits): void {
  const { embedding, head, position, vocabularySize, hiddenSize, contextLength } = source.architecture;
  const columns = embedding.embeddingSize;
  for (const name of new Set([embedding.table, head.weight]))
    drain(encodeTable({ source, name, rows: vocabularySize, columns, bits: embeddingBits, metric: null }));
  if (embedding.projectIn !== null) drain(encodeHalfRows(source, embedding.projectIn, hiddenSize, columns));
  if (embedding.projectOut !== null) drain(encodeHalfRows(source, embedding.projectOut, columns, hiddenSize));
  if (position.kind === 'learned')
    drain(encodeHalfRows(source, position.table, contextLength + position.offset, hiddenSize));
}

function drain(pieces: Iterable<unknown>): void {
  for (const _ of pieces);
}
