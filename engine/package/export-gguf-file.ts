import type { EmbeddingBits } from '../contract/common.ts';
import type { Block, Norm } from '../model/architecture.ts';
import type { StoredType } from '../model/source.ts';

/** A metadata value with the type that it gets in the file. */
export type GgufMetadataValue =
  | { type: 'uint32'; value: number }
  | { type: 'float32'; value: number }
  | { type: 'bool'; value: boolean }
  | { type: 'string'; value: string }
  | { type: 'strings'; value: readonly string[] }
  | { type: 'int32s'; value: readonly number[] }
  | { type: 'float32s'; value: readonly number[] };

/** A tensor as it is to stand in the file; its bytes are made when it is written. */
export interface GgufTensorPlan {
  name: string;
  /** Row-major, outermost first. */
  shape: readonly number[];
  type: GgufExportType;
  bytes: number;
}

/** Types that exports use: number in the file, elements and bytes of a block. */
export const exportTypes = {
  F32: { number: 0, elements: 1, bytes: 4 },
  F16: { number: 1, elements: 1, bytes: 2 },
  Q4_0: { number: 2, elements: 32, bytes: 18 },
  Q4_1: { number: 3, elements: 32, bytes: 20 },
  Q5_0: { number: 6, elements: 32, bytes: 22 },
  Q8_0: { number: 8, elements: 32, bytes: 34 },
  TQ2_0: { number: 35, elements: 256, bytes: 66 },
  Q1_0: { number: 41, elements: 128, bytes: 18 },
  Q2_0: { number: 42, elements: 64, bytes: 18 },
} as const satisfies Partial<Record<StoredType, object>>;
export type GgufExportType = keyof typeof exportTypes;

/** What a table of so many bits is in a GGUF file: those of 8 and 6 bits Q8_0, those of 4 bits Q4_0, where blocks of 32 divide the columns. */
export function tableExportType(bits: EmbeddingBits, columns: number): GgufExportType {
  if (bits === 16) return 'F16';
  if (columns % exportTypes.Q8_0.elements !== 0) return 'F32';
  return bits === 4 ? 'Q4_0' : 'Q8_0';
}

/** Norms of a block in the order of the file. */
export function exportedNorms({ attentionNorm, queryNorm, keyNorm, mlpNorm }: Block): Norm[] {
  return [attentionNorm, queryNorm, keyNorm, mlpNorm].filter((norm) => norm !== null);
}

/** How every refusal of a whole package begins. */
export const cannotBeExported = 'the package cannot be exported to GGUF: ';

/** The specification's alignment where `general.alignment` is absent. */
const alignment = 32;
const version = 3;
/** Numbers of the value types in a GGUF. */
const valueTypes = { uint32: 4, int32: 5, float32: 6, bool: 7, string: 8, array: 9 } as const;

export const alignedBytes = (bytes: number): number => Math.ceil(bytes / alignment) * alignment;

/** Bytes of a tensor of the type. */
export function exportBytes(type: GgufExportType, shape: readonly number[]): number {
  const { elements, bytes } = exportTypes[type];
  return (shape.reduce((product, size) => product * size, 1) / elements) * bytes;
}

/**
 * Everything before the tensor data of a GGUF file, version 3, padded so that the data begin where it ends. Tensors follow in this order, each padded to 32
 * bytes.
 */
export function ggufHeader(
  metadata: ReadonlyMap<string, GgufMetadataValue>,
  tensors: readonly GgufTensorPlan[],
): Uint8Array {
  const parts: Buffer[] = [Buffer.from('GGUF', 'latin1'), u32(version)];
  parts.push(u64(tensors.length), u64(metadata.size));
  for (const [key, value] of metadata) parts.push(text(key), ...encode(value));
  let offset = 0;
  for (const { name, shape, type, bytes } of tensors) {
    parts.push(text(name), u32(shape.length), ...[...shape].reverse().map(u64));
    parts.push(u32(exportTypes[type].number), u64(offset));
    offset += alignedBytes(bytes);
  }
  const header = Buffer.concat(parts);
  return Buffer.concat([header, Buffer.alloc(alignedBytes(header.length) - header.length)]);
}

function encode(item: GgufMetadataValue): Buffer[] {
  switch (item.type) {
    case 'uint32':
      return [u32(valueTypes.uint32), u32(item.value)];
    case 'float32':
      return [u32(valueTypes.float32), f32(item.value)];
    case 'bool':
      return [u32(valueTypes.bool), Buffer.of(item.value ? 1 : 0)];
    case 'string':
      return [u32(valueTypes.string), text(item.value)];
    case 'strings':
      return [...arrayHead('string', item.value.length), ...item.value.map(text)];
    case 'int32s':
      return [...arrayHead('int32', item.value.length), Buffer.from(Int32Array.from(item.value).buffer)];
    case 'float32s':
      return [...arrayHead('float32', item.value.length), Buffer.from(Float32Array.from(item.value).buffer)];
  }
}

function arrayHead(item: keyof typeof valueTypes, length: number): Buffer[] {
  return [u32(valueTypes.array), u32(valueTypes[item]), u64(length)];
}

function u32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(value);
  return buffer;
}

function u64(value: number): Buffer {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64LE(BigInt(value));
  return buffer;
}

function f32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeFloatLE(value);
  return buffer;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'utf8');
  return Buffer.concat([u64(bytes.length), bytes]);
}
