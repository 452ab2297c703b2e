import type { ByteSource } from '../byte-source.ts';
import {
  MAX_EXACT,
  MAX_GGUF_ALIGNMENT,
  MAX_GGUF_DIMENSIONS,
  MAX_GGUF_METADATA,
  MAX_NAME_BYTES,
  MAX_TENSORS,
} from '../limits.ts';
import { count, ProblemList, quote, show } from '../problems.ts';
import type { StoredType } from '../source.ts';
import { ByteCursor, HeaderError } from './cursor.ts';
import type { GgufMetadata, GgufValue } from './metadata.ts';
import { findQ2Groups, Q2_0_NUMBER, type Q2Groups } from './q2-groups.ts';
import { ggmlBlocks, ggmlTypeNames } from './types.ts';
import { readValue, readValueType } from './values.ts';

const MAGIC = 'GGUF';
const SUPPORTED_VERSIONS = [2, 3];
/** The specification's value where `general.alignment` is absent. */
const DEFAULT_ALIGNMENT = 32;
/** Types as they are called in files. */
const readableNames = Object.keys(ggmlBlocks).filter((name) => name !== 'Q2_0_G128');
/** Bytes of the smallest metadata pair and of the smallest tensor description. */
const MIN_PAIR_BYTES = 8 + 4 + 1;
const MIN_TENSOR_BYTES = 8 + 4 + 8 + 4 + 8;

/** Where a tensor lies in its file; the shape is row-major, so ggml's order reversed. */
export interface GgufTensor {
  storedType: StoredType;
  shape: number[];
  /** First byte, from the beginning of the file. */
  position: number;
  bytes: number;
}

export interface GgufHeader {
  version: number;
  alignment: number;
  metadata: GgufMetadata;
  tensors: Map<string, GgufTensor>;
  /** First byte of the tensor data, from the beginning of the file. */
  dataPosition: number;
}

/**
 * Reads and checks the header of a GGUF file, versions 2 and 3, little-endian: counts, lengths and offsets are held against the file's size before
 * anything is allocated or read, and tensors must lie inside the file without overlapping. Nothing of the data is read. Padding between and behind
 * tensors is allowed. The header is null where it cannot be read to its end; tensors that are not sound are left out of it.
 */
export function parseGgufHeader(source: ByteSource): { header: GgufHeader | null; problems: ProblemList } {
  const problems = new ProblemList();
  const cursor = new ByteCursor(source);
  try {
    return { header: readHeader(source, cursor, problems), problems };
  } catch (error) {
    if (!(error instanceof HeaderError)) throw error;
    problems.error('header-damaged', `${source.name}: ${error.message}`);
    return { header: null, problems };
  }
}

function readHeader(source: ByteSource, cursor: ByteCursor, problems: ProblemList): GgufHeader | null {
  const fail = (code: string, message: string) => {
    problems.error(code, `${source.name}: ${message}`);
    return null;
  };
  if (source.size < 24)
    return fail('file-cut', `the file has ${source.size} bytes; a GGUF file has at least 24`);
  const magic = Buffer.from(cursor.bytes(4)).toString('latin1');
  if (magic !== MAGIC) return fail('not-gguf', `the file begins with ${quote(magic)}, not "${MAGIC}"`);
  const version = cursor.uint32();
  if (!SUPPORTED_VERSIONS.includes(version)) {
    // A big-endian file shows its version in the upper bytes.
    const isBigEndian = version !== 0 && (version & 0xffff) === 0;
    return fail(
      'unsupported-version',
      isBigEndian
        ? 'the file is big-endian; only little-endian GGUF is supported'
        : `GGUF version ${version} is not supported; supported are ${SUPPORTED_VERSIONS.join(' and ')}`,
    );
  }
  const tensorCount = cursor.uint64();
  const pairCount = cursor.uint64();
  const tooMany = (what: string, number: bigint, minBytes: number, limit: number): string | null => {
    if (number * BigInt(minBytes) > BigInt(cursor.remaining))
      return `the header claims ${count(number)} ${what}, more than the file's ${count(source.size)} bytes can hold; it is cut or damaged`;
    if (number > BigInt(limit))
      return `the header lists ${count(number)} ${what}, more than the limit of ${count(limit)}`;
    return null;
  };
  const tooManyPairs = tooMany('metadata pairs', pairCount, MIN_PAIR_BYTES, MAX_GGUF_METADATA);
  if (tooManyPairs !== null) return fail('header-damaged', tooManyPairs);
  const tooManyTensors = tooMany('tensors', tensorCount, MIN_TENSOR_BYTES, MAX_TENSORS);
  if (tooManyTensors !== null) return fail('header-damaged', tooManyTensors);

  const metadata = readMetadata(cursor, Number(pairCount));
  const alignment = readAlignment(metadata);
  const descriptions = readDescriptions(cursor, Number(tensorCount));
  const dataPosition = Math.ceil(cursor.position / alignment) * alignment;
  const groups = q2Groups(descriptions, source, dataPosition, alignment, problems);
  const tensors = new Map<string, GgufTensor>();
  for (const description of descriptions) {
    const tensor = place(description, groups, source, dataPosition, alignment, problems);
    if (tensor !== null) tensors.set(description.name, tensor);
  }
  checkOverlap(tensors, source, dataPosition, problems);
  return { version, alignment, metadata, tensors, dataPosition };
}

function readMetadata(cursor: ByteCursor, pairs: number): GgufMetadata {
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < pairs; i++) {
    const key = within(`metadata pair ${i}`, () => cursor.string(MAX_NAME_BYTES));
    if (metadata.has(key)) throw new HeaderError(`metadata key ${quote(key)} stands twice`);
    metadata.set(
      key,
      within(`metadata key ${quote(key)}`, () => readValue(cursor, readValueType(cursor))),
    );
  }
  return metadata;
}

/** Runs a part of the reading and puts its place in front of what it throws. */
function within<T>(place: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof HeaderError) throw new HeaderError(`${place} ${error.message}`);
    throw error;
  }
}

function readAlignment(metadata: GgufMetadata): number {
  const value = metadata.get('general.alignment');
  if (value === undefined) return DEFAULT_ALIGNMENT;
  const isPowerOfTwo = typeof value === 'number' && Number.isInteger(Math.log2(value));
  if (!isPowerOfTwo || value < 8 || value > MAX_GGUF_ALIGNMENT)
    throw new HeaderError(
      `general.alignment is ${show(typeof value === 'bigint' ? value.toString() : value)}; it must be a power of two from 8 to ${count(MAX_GGUF_ALIGNMENT)}`,
    );
  return value;
}

interface Description {
  name: string;
  /** ggml's order: innermost first. */
  dimensions: bigint[];
  type: number;
  offset: bigint;
}

function readDescriptions(cursor: ByteCursor, tensors: number): Description[] {
  const descriptions: Description[] = [];
  const names = new Set<string>();
  for (let i = 0; i < tensors; i++) {
    const name = within(`tensor ${i}`, () => cursor.string(MAX_NAME_BYTES));
    if (names.has(name)) throw new HeaderError(`tensor ${quote(name)} stands twice`);
    names.add(name);
    descriptions.push(
      within(`tensor ${quote(name)}`, () => {
        const dimensionCount = cursor.uint32();
        if (dimensionCount < 1 || dimensionCount > MAX_GGUF_DIMENSIONS)
          throw new HeaderError(
            `has ${count(dimensionCount)} dimensions; GGUF allows 1 to ${MAX_GGUF_DIMENSIONS}`,
          );
        const dimensions = Array.from({ length: dimensionCount }, () => cursor.uint64());
        return { name, dimensions, type: cursor.uint32(), offset: cursor.uint64() };
      }),
    );
  }
  return descriptions;
}

/** The layout of the file's Q2_0 tensors; where it is unclear, with a problem, ggml's own. */
function q2Groups(
  descriptions: Description[],
  source: ByteSource,
  dataPosition: number,
  alignment: number,
  problems: ProblemList,
): Q2Groups {
  const dataBytes = BigInt(Math.max(0, source.size - dataPosition));
  const groups = findQ2Groups(descriptions, dataBytes, BigInt(alignment));
  if (groups === 'ambiguous')
    problems.error(
      'unsupported-type',
      `${source.name}: the tensors of type Q2_0 are so small that groups of 64 and of 128 weights fit their offsets alike; which it is cannot be told`,
    );
  if (groups === 'neither')
    problems.error(
      'tensor-size',
      `${source.name}: the offsets of the tensors of type Q2_0 fit neither groups of 64 weights in 18 bytes nor of 128 in 34; the file is cut or damaged`,
    );
  return groups === 'Q2_0_G128' ? groups : 'Q2_0';
}

function place(
  description: Description,
  groups: Q2Groups,
  source: ByteSource,
  dataPosition: number,
  alignment: number,
  problems: ProblemList,
): GgufTensor | null {
  const { name, dimensions, type, offset } = description;
  const fail = (code: string, message: string) => {
    problems.error(code, `${source.name}: tensor ${quote(name)}: ${message}`);
    return null;
  };
  const typeName = type === Q2_0_NUMBER ? groups : ggmlTypeNames.get(type);
  const block = typeName === undefined ? undefined : ggmlBlocks[typeName as StoredType];
  if (block === undefined)
    return fail(
      'unsupported-type',
      `type ${typeName ?? type} is not supported; supported are ${readableNames.join(', ')}`,
    );
  const elements = dimensions.reduce((product, size) => product * size, 1n);
  if (elements === 0n || elements > BigInt(MAX_EXACT))
    return fail('tensor-size', `[${[...dimensions].reverse().join(', ')}] has ${count(elements)} elements`);
  if (dimensions[0]! % BigInt(block.elements) !== 0n)
    return fail(
      'tensor-size',
      `rows of ${dimensions[0]} elements are no multiple of the ${block.elements} in a block of ${typeName}`,
    );
  const bytes = (elements / BigInt(block.elements)) * BigInt(block.bytes);
  if (offset % BigInt(alignment) !== 0n)
    return fail('tensor-out-of-range', `offset ${offset} is no multiple of the alignment ${alignment}`);
  const dataBytes = Math.max(0, source.size - dataPosition);
  if (offset + bytes > BigInt(dataBytes))
    return fail(
      'tensor-out-of-range',
      `bytes ${offset} … ${offset + bytes} reach beyond the file's ${count(dataBytes)} data bytes; the file is cut`,
    );
  return {
    storedType: typeName as StoredType,
    shape: dimensions.map(Number).reverse(),
    position: dataPosition + Number(offset),
    bytes: Number(bytes),
  };
}

function checkOverlap(
  tensors: Map<string, GgufTensor>,
  source: ByteSource,
  dataPosition: number,
  problems: ProblemList,
): void {
  const ordered = [...tensors].sort(([, a], [, b]) => a.position - b.position);
  for (let i = 1; i < ordered.length; i++) {
    const [previousName, previous] = ordered[i - 1]!;
    const [name, tensor] = ordered[i]!;
    if (tensor.position < previous.position + previous.bytes)
      problems.error(
        'tensors-overlap',
        `${source.name}: tensors ${quote(previousName)} and ${quote(name)} overlap at data byte ${tensor.position - dataPosition}`,
      );
  }
}
