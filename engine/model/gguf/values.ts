import { MAX_GGUF_ARRAY_DEPTH, MAX_GGUF_ARRAY_ITEMS, MAX_GGUF_STRING_BYTES } from '../limits.ts';
import { count } from '../problems.ts';
import type { ByteCursor } from './cursor.ts';
import { HeaderError } from './cursor.ts';
import type { GgufValue } from './metadata.ts';

/** gguf_metadata_value_type, by its number in the file. */
export const ggufValueTypes = [
  'UINT8',
  'INT8',
  'UINT16',
  'INT16',
  'UINT32',
  'INT32',
  'FLOAT32',
  'BOOL',
  'STRING',
  'ARRAY',
  'UINT64',
  'INT64',
  'FLOAT64',
] as const;

export type GgufValueType = (typeof ggufValueTypes)[number];

const itemBytes: Record<GgufValueType, number> = {
  UINT8: 1,
  INT8: 1,
  UINT16: 2,
  INT16: 2,
  UINT32: 4,
  INT32: 4,
  FLOAT32: 4,
  BOOL: 1,
  UINT64: 8,
  INT64: 8,
  FLOAT64: 8,
  // At least its length field; an array its type and length.
  STRING: 8,
  ARRAY: 12,
};

const numberArrays = {
  UINT8: Uint8Array,
  INT8: Int8Array,
  UINT16: Uint16Array,
  INT16: Int16Array,
  UINT32: Uint32Array,
  INT32: Int32Array,
  FLOAT32: Float32Array,
  FLOAT64: Float64Array,
} as const;

/** Reads a value's type number. Throws HeaderError for an unknown one. */
export function readValueType(cursor: ByteCursor): GgufValueType {
  const number = cursor.uint32();
  const type = ggufValueTypes[number];
  if (type === undefined) throw new HeaderError(`has the unknown value type ${number}`);
  return type;
}

/** Reads one value. Lengths are checked against the rest of the file before anything is allocated. Throws HeaderError, completing "key … ". */
export function readValue(cursor: ByteCursor, type: GgufValueType, depth = 0): GgufValue {
  switch (type) {
    case 'STRING':
      return cursor.string(MAX_GGUF_STRING_BYTES);
    case 'BOOL':
      return readBoolean(cursor);
    case 'UINT64':
      return exactOrBig(cursor.uint64());
    case 'INT64':
      return exactOrBig(BigInt.asIntN(64, cursor.uint64()));
    case 'ARRAY':
      return readArray(cursor, depth + 1);
    default: {
      const Numbers = numberArrays[type];
      return new Numbers(cursor.bytes(itemBytes[type]).buffer as ArrayBuffer)[0]!;
    }
  }
}

function readArray(cursor: ByteCursor, depth: number): GgufValue {
  if (depth > MAX_GGUF_ARRAY_DEPTH)
    throw new HeaderError(`nests arrays deeper than ${MAX_GGUF_ARRAY_DEPTH} levels`);
  const type = readValueType(cursor);
  const length = cursor.uint64();
  if (length * BigInt(itemBytes[type]) > BigInt(cursor.remaining))
    throw new HeaderError(
      `claims an array of ${count(length)} items but the file has ${count(cursor.remaining)} bytes left`,
    );
  if (length > BigInt(MAX_GGUF_ARRAY_ITEMS))
    throw new HeaderError(
      `has an array of ${count(length)} items, more than the limit of ${count(MAX_GGUF_ARRAY_ITEMS)}`,
    );
  const items = Number(length);
  if (Object.hasOwn(numberArrays, type)) {
    const key = type as keyof typeof numberArrays;
    return new numberArrays[key](cursor.bytes(items * itemBytes[type]).buffer as ArrayBuffer);
  }
  const values: GgufValue[] = [];
  for (let i = 0; i < items; i++) values.push(readValue(cursor, type, depth));
  return values;
}

function readBoolean(cursor: ByteCursor): boolean {
  const byte = cursor.bytes(1)[0]!;
  if (byte > 1) throw new HeaderError(`is a boolean of value ${byte}`);
  return byte === 1;
}

function exactOrBig(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
