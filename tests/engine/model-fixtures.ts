import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const tiny = path.resolve(import.meta.dirname, '../fixtures/model/tiny');

/** Copies a tiny model into `folder` and returns its path. */
export function copyTinyModel(name: string, folder: string): string {
  mkdirSync(folder, { recursive: true });
  for (const file of readdirSync(path.join(tiny, name)))
    if (file !== 'expected.json') copyFileSync(path.join(tiny, name, file), path.join(folder, file));
  return folder;
}

/** Changes a JSON file in place. */
export function editJson(file: string, edit: (value: Record<string, unknown>) => void): void {
  const value = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  edit(value);
  writeFileSync(file, JSON.stringify(value));
}

export interface RawTensor {
  dtype: string;
  shape: number[];
  bytes: Uint8Array;
}

/** Reads a sound safetensors file the short way. */
export function readSafetensors(file: string): Map<string, RawTensor> {
  const bytes = readFileSync(file);
  const headerBytes = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + headerBytes)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, RawTensor>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const [begin, end] = entry.data_offsets;
    tensors.set(name, {
      dtype: entry.dtype,
      shape: entry.shape,
      bytes: bytes.subarray(8 + headerBytes + begin, 8 + headerBytes + end),
    });
  }
  return tensors;
}

export type SafetensorsHeaderObject = Record<string, Record<string, unknown>>;

/** Writes a safetensors file; `edit` may lie in the header, `text` in its text. */
export function writeSafetensors(
  file: string,
  tensors: Map<string, RawTensor>,
  edit: (header: SafetensorsHeaderObject) => void = () => {},
  text: (header: string) => string = (header) => header,
): void {
  const header: SafetensorsHeaderObject = {};
  let position = 0;
  for (const [name, { dtype, shape, bytes }] of tensors) {
    header[name] = { dtype, shape, data_offsets: [position, position + bytes.length] };
    position += bytes.length;
  }
  edit(header);
  const headerBytes = Buffer.from(text(JSON.stringify(header)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(headerBytes.length));
  writeFileSync(
    file,
    Buffer.concat([length, headerBytes, ...[...tensors.values()].map((tensor) => tensor.bytes)]),
  );
}

/** Changes the tensors of a folder's single weight file. */
export function editTensors(folder: string, edit: (tensors: Map<string, RawTensor>) => void): void {
  const file = path.join(folder, 'model.safetensors');
  const tensors = readSafetensors(file);
  edit(tensors);
  writeSafetensors(file, tensors);
}

export function float32Tensor(shape: number[], values: ArrayLike<number> | number): RawTensor {
  const elements = shape.reduce((product, size) => product * size, 1);
  const data = new Float32Array(elements);
  if (typeof values === 'number') data.fill(values);
  else data.set(values);
  return { dtype: 'F32', shape, bytes: new Uint8Array(data.buffer) };
}

const valueTypes = {
  uint8: 0,
  int8: 1,
  uint16: 2,
  int16: 3,
  uint32: 4,
  int32: 5,
  float32: 6,
  bool: 7,
  string: 8,
  array: 9,
  uint64: 10,
  int64: 11,
  float64: 12,
};

export type GgufPair = [key: string | Uint8Array, type: keyof typeof valueTypes | number, value: unknown];

export interface GgufTensorInput {
  name: string | Uint8Array;
  /** ggml's order: innermost first. */
  dimensions: (number | bigint)[];
  type: number;
  bytes: Uint8Array;
  /** Overrides that lie. */
  offset?: bigint;
  dimensionCount?: number;
}

/** Writes GGUF bytes; every count and length can be made to lie. Arrays are given as {item, values} or as raw bytes. */
export function makeGguf(
  pairs: GgufPair[],
  tensors: GgufTensorInput[],
  options: {
    version?: number;
    magic?: string;
    alignment?: number;
    pairCount?: bigint;
    tensorCount?: bigint;
    trailing?: number;
  } = {},
): Uint8Array {
  const alignment = options.alignment ?? 32;
  const parts: Buffer[] = [Buffer.from(options.magic ?? 'GGUF', 'latin1')];
  const u32 = (value: number) => {
    const buffer = Buffer.alloc(4);
    buffer.writeUInt32LE(value);
    parts.push(buffer);
  };
  const u64 = (value: number | bigint) => {
    const buffer = Buffer.alloc(8);
    buffer.writeBigUInt64LE(BigInt(value));
    parts.push(buffer);
  };
  const string = (value: string | Uint8Array) => {
    const bytes = Buffer.from(value as string);
    u64(bytes.length);
    parts.push(bytes);
  };
  const item = (type: number, value: unknown) => {
    if (value instanceof Uint8Array) parts.push(Buffer.from(value));
    else if (type === valueTypes.string) string(value as string);
    else if (type === valueTypes.uint64) u64(value as number | bigint);
    else if (type === valueTypes.uint32) u32(value as number);
    else if (type === valueTypes.bool) parts.push(Buffer.from([Number(value)]));
    else {
      const buffer = Buffer.alloc(8);
      if (type === valueTypes.float32) parts.push(buffer.subarray(0, buffer.writeFloatLE(value as number)));
      else if (type === valueTypes.float64)
        parts.push(buffer.subarray(0, buffer.writeDoubleLE(value as number)));
      else if (type === valueTypes.int32)
        parts.push(buffer.subarray(0, buffer.writeInt32LE(value as number)));
      else if (type === valueTypes.int64)
        parts.push(buffer.subarray(0, buffer.writeBigInt64LE(value as bigint)));
      else throw new Error(`value type ${type} has no writer`);
    }
  };
  u32(options.version ?? 3);
  u64(options.tensorCount ?? tensors.length);
  u64(options.pairCount ?? pairs.length);
  for (const [key, type, value] of pairs) {
    string(key);
    const number = typeof type === 'number' ? type : valueTypes[type];
    u32(number);
    if (number === valueTypes.array && !(value instanceof Uint8Array)) {
      const array = value as { item: keyof typeof valueTypes; values: unknown[]; length?: bigint };
      u32(valueTypes[array.item]);
      u64(array.length ?? array.values.length);
      for (const entry of array.values) item(valueTypes[array.item], entry);
    } else item(number, value);
  }
  let offset = 0;
  const data: Buffer[] = [];
  for (const tensor of tensors) {
    string(tensor.name);
    u32(tensor.dimensionCount ?? tensor.dimensions.length);
    for (const size of tensor.dimensions) u64(size);
    u32(tensor.type);
    u64(tensor.offset ?? offset);
    const padded = Math.ceil(tensor.bytes.length / alignment) * alignment;
    data.push(Buffer.from(tensor.bytes), Buffer.alloc(padded - tensor.bytes.length));
    offset += padded;
  }
  const headerBytes = parts.reduce((sum, part) => sum + part.length, 0);
  parts.push(Buffer.alloc(Math.ceil(headerBytes / alignment) * alignment - headerBytes), ...data);
  parts.push(Buffer.alloc(options.trailing ?? 0));
  return Buffer.concat(parts);
}

/** Metadata and float32 tensors of a LLaMA of 1 layer, hidden 8, 2 heads, feed-forward 8, 4 tokens: small enough to write by hand. */
export function handmadeGguf(): { pairs: GgufPair[]; tensors: GgufTensorInput[] } {
  const pairs: GgufPair[] = [
    ['general.architecture', 'string', 'llama'],
    ['llama.context_length', 'uint32', 16],
    ['llama.embedding_length', 'uint32', 8],
    ['llama.block_count', 'uint32', 1],
    ['llama.feed_forward_length', 'uint32', 8],
    ['llama.attention.head_count', 'uint32', 2],
    ['llama.attention.head_count_kv', 'uint32', 1],
    ['llama.attention.layer_norm_rms_epsilon', 'float32', 1e-5],
    ['llama.rope.freq_base', 'float32', 10000],
    ['tokenizer.ggml.model', 'string', 'gpt2'],
    ['tokenizer.ggml.pre', 'string', 'gpt-2'],
    ['tokenizer.ggml.tokens', 'array', { item: 'string', values: ['a', 'b', 'ab', '<|end|>'] }],
    ['tokenizer.ggml.token_type', 'array', { item: 'int32', values: [1, 1, 1, 3] }],
    ['tokenizer.ggml.merges', 'array', { item: 'string', values: ['a b'] }],
    ['tokenizer.ggml.bos_token_id', 'uint32', 3],
    ['tokenizer.ggml.eos_token_id', 'uint32', 3],
  ];
  const shapes: [string, number[]][] = [
    ['token_embd', [8, 4]],
    ['output_norm', [8]],
    ['blk.0.attn_norm', [8]],
    ['blk.0.attn_q', [8, 8]],
    ['blk.0.attn_k', [8, 4]],
    ['blk.0.attn_v', [8, 4]],
    ['blk.0.attn_output', [8, 8]],
    ['blk.0.ffn_norm', [8]],
    ['blk.0.ffn_gate', [8, 8]],
    ['blk.0.ffn_up', [8, 8]],
    ['blk.0.ffn_down', [8, 8]],
  ];
  const tensors = shapes.map(([name, dimensions], index) => {
    const { bytes } = float32Tensor(
      dimensions,
      Float32Array.from({ length: dimensions.reduce((a, b) => a * b) }, (_, i) => index + i / 64),
    );
    return { name: `${name}.weight`, dimensions, type: 0, bytes };
  });
  return { pairs, tensors };
}

/** The pairs with one replaced, added or (undefined) taken away. */
export function withPair(
  pairs: GgufPair[],
  key: string,
  pair: [type: GgufPair[1], value: unknown] | undefined,
): GgufPair[] {
  const kept = pairs.filter(([name]) => name !== key);
  return pair === undefined ? kept : [...kept, [key, ...pair]];
}
