import { type ByteSource, readBytes } from './byte-source.ts';
import { isRecord, JsonError, parseJsonObject } from './json.ts';
import { MAX_DIMENSIONS, MAX_EXACT, MAX_JSON_HEADER_BYTES, MAX_NAME_BYTES, MAX_TENSORS } from './limits.ts';
import { count, ProblemList, plural, quote, show } from './problems.ts';
import type { StoredType } from './source.ts';

const PADDING_PIECE_BYTES = 1 << 16;

/** Bytes of an element of each type that may stand in a safetensors file. */
export const safetensorsElementBytes: Partial<Record<StoredType, number>> = {
  F64: 8,
  I64: 8,
  U64: 8,
  F32: 4,
  I32: 4,
  U32: 4,
  F16: 2,
  BF16: 2,
  I16: 2,
  U16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
};

/** Where a tensor lies in its file. */
export interface StoredTensor {
  storedType: StoredType;
  /** Row-major, outermost first. */
  shape: number[];
  /** First byte, from the beginning of the file. */
  position: number;
  bytes: number;
}

export interface SafetensorsHeader {
  tensors: Map<string, StoredTensor>;
  /** `__metadata__`, string to string. */
  metadata: Map<string, string>;
  /** First byte after the header. */
  dataPosition: number;
}

/**
 * Reads and checks the header of a safetensors file: its length against the file, every tensor's type, shape and byte range, and that the ranges
 * follow each other without gap or overlap to the file's end, as the format demands. Nothing of the data is read; memory stays proportional to the
 * header. Positions need not be multiples of the element size (the format does not ask for it). Returns null for the header where it cannot be
 * used at all; otherwise it holds the tensors that are sound.
 */
export function parseSafetensorsHeader(source: ByteSource): {
  header: SafetensorsHeader | null;
  problems: ProblemList;
} {
  const problems = new ProblemList();
  const fail = (code: string, message: string) => {
    problems.error(code, `${source.name}: ${message}`);
    return { header: null, problems };
  };
  if (source.size < 10)
    return fail('file-cut', `the file has ${source.size} bytes; a safetensors file has at least 10`);
  const lengthField = new DataView(readBytes(source, 0, 8).buffer).getBigUint64(0, true);
  if (lengthField > BigInt(source.size - 8))
    return fail(
      'file-cut',
      `the header claims ${count(lengthField)} bytes but the file has ${count(source.size)}; it is cut or not a safetensors file`,
    );
  const headerBytes = Number(lengthField);
  const textBytes = withoutPadding(source, headerBytes);
  if (textBytes > MAX_JSON_HEADER_BYTES)
    return fail(
      'header-too-long',
      `the header has ${count(textBytes)} bytes, more than the limit of ${count(MAX_JSON_HEADER_BYTES)}`,
    );
  let entries: Record<string, unknown>;
  try {
    entries = parseJsonObject(readBytes(source, 8, textBytes), { uniqueDepth: 2 });
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    return fail('header-damaged', `the header ${error.message}`);
  }

  const dataPosition = 8 + headerBytes;
  const metadata = readMetadata(entries.__metadata__, source, problems);
  const names = Object.keys(entries).filter((name) => name !== '__metadata__');
  if (names.length > MAX_TENSORS)
    return fail(
      'header-too-long',
      `the header lists ${count(names.length)} tensors, more than the limit of ${count(MAX_TENSORS)}`,
    );
  const tensors = new Map<string, StoredTensor>();
  for (const name of names) {
    const tensor = readEntry(name, entries[name], source, dataPosition, problems);
    if (tensor !== null) tensors.set(name, tensor);
  }
  // A tensor that was refused leaves a hole, which would only be reported a second time.
  if (!problems.hasErrors) checkCoverage(tensors, source, dataPosition, problems);
  return { header: { tensors, metadata, dataPosition }, problems };
}

/** Length of the header's text: padding is blanks by the format, and zero bytes by some writers. It is read from the back, in pieces. */
function withoutPadding(source: ByteSource, headerBytes: number): number {
  let end = headerBytes;
  while (end > 0) {
    const piece = readBytes(
      source,
      8 + Math.max(0, end - PADDING_PIECE_BYTES),
      Math.min(end, PADDING_PIECE_BYTES),
    );
    const last = piece.findLastIndex((byte) => byte !== 0x20 && byte !== 0);
    if (last >= 0) return end - piece.length + last + 1;
    end -= piece.length;
  }
  return 0;
}

function readMetadata(value: unknown, source: ByteSource, problems: ProblemList): Map<string, string> {
  const metadata = new Map<string, string>();
  if (value === undefined) return metadata;
  if (!isRecord(value)) {
    problems.warning('odd-metadata', `${source.name}: __metadata__ is not an object and is ignored`);
    return metadata;
  }
  for (const [key, item] of Object.entries(value)) {
    if (typeof item === 'string') metadata.set(key, item);
    else
      problems.warning(
        'odd-metadata',
        `${source.name}: __metadata__ ${quote(key)} is not a string and is ignored`,
      );
  }
  return metadata;
}

function readEntry(
  name: string,
  entry: unknown,
  source: ByteSource,
  dataPosition: number,
  problems: ProblemList,
): StoredTensor | null {
  const fail = (code: string, message: string) => {
    problems.error(code, `${source.name}: tensor ${quote(name)}: ${message}`);
    return null;
  };
  if (Buffer.byteLength(name) > MAX_NAME_BYTES)
    return fail('header-damaged', `the name has more than ${MAX_NAME_BYTES} bytes`);
  if (!isRecord(entry)) return fail('header-damaged', `the entry is ${show(entry)}, not an object`);
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== 'string') return fail('header-damaged', `dtype is ${show(dtype)}, not a string`);
  const elementBytes = Object.hasOwn(safetensorsElementBytes, dtype)
    ? safetensorsElementBytes[dtype as StoredType]
    : undefined;
  if (elementBytes === undefined)
    return fail(
      'unsupported-type',
      `dtype ${quote(dtype)} is unknown; supported are ${Object.keys(safetensorsElementBytes).join(', ')}`,
    );
  if (!Array.isArray(shape) || !shape.every(isCount))
    return fail('header-damaged', `shape ${show(shape)} is not a list of sizes`);
  if (shape.length > MAX_DIMENSIONS)
    return fail('header-damaged', `${shape.length} dimensions are more than the limit of ${MAX_DIMENSIONS}`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount))
    return fail('header-damaged', `data_offsets ${show(offsets)} are not two positions`);
  const [begin, end] = offsets as [number, number];
  if (end < begin) return fail('tensor-out-of-range', `data_offsets [${begin}, ${end}] run backwards`);
  if (end > source.size - dataPosition)
    return fail(
      'tensor-out-of-range',
      `data_offsets [${begin}, ${end}] reach beyond the file's ${count(source.size - dataPosition)} data bytes; the file is cut`,
    );
  const bytes = byteCount(shape, elementBytes);
  if (bytes !== end - begin)
    return fail(
      'tensor-size',
      `${dtype} [${shape.join(', ')}] takes ${bytes === null ? 'more than 2^53' : count(bytes)} bytes but data_offsets hold ${count(end - begin)}`,
    );
  return { storedType: dtype as StoredType, shape: [...shape], position: dataPosition + begin, bytes };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Product of the sizes and the element size, or null where it is no longer exact. */
function byteCount(shape: readonly number[], elementBytes: number): number | null {
  if (shape.includes(0)) return 0;
  let bytes = elementBytes;
  for (const size of shape) {
    bytes *= size;
    if (bytes > MAX_EXACT) return null;
  }
  return bytes;
}

function checkCoverage(
  tensors: Map<string, StoredTensor>,
  source: ByteSource,
  dataPosition: number,
  problems: ProblemList,
): void {
  const ordered = [...tensors].sort(([, a], [, b]) => a.position - b.position || a.bytes - b.bytes);
  let end = dataPosition;
  let previous: string | null = null;
  for (const [name, tensor] of ordered) {
    if (tensor.position < end)
      problems.error(
        'tensors-overlap',
        `${source.name}: tensors ${quote(previous ?? '')} and ${quote(name)} overlap at data byte ${tensor.position - dataPosition}`,
      );
    else if (tensor.position > end)
      problems.error(
        'data-gap',
        `${source.name}: before tensor ${quote(name)} lie ${plural(tensor.position - end, 'byte')} of no tensor`,
      );
    if (tensor.position + tensor.bytes > end) {
      end = tensor.position + tensor.bytes;
      previous = name;
    }
  }
  if (end !== source.size)
    problems.error(
      'data-gap',
      `${source.name}: after the last tensor lie ${plural(source.size - end, 'byte')} of no tensor`,
    );
}
