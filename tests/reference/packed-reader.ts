/** A reader of packed models written from docs/format.md alone, as plainly as it can be; shares nothing with the product. */
import { readFileSync } from 'node:fs';
import path from 'node:path';

interface Entry {
  layout: 'grid' | 'structured' | 'table' | 'float';
  shape: number[];
  levels: number;
  planes: number;
  codes?: 'base-3';
  residual_columns?: number;
  offsets: boolean;
  column_scale: boolean;
  row_scale?: true;
  bias: boolean;
  bits: number;
  dtype: 'F32' | 'F16';
}

/** IEEE 754 binary16 by its definition. */
export function binary16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) throw new Error('not finite');
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Code of a row and column from bit planes of `lines` lines a row group. */
function planeCode(bytes: Buffer, lines: number, planes: number, row: number, column: number): number {
  let value = 0;
  for (let p = 0; p < planes; p += 1) {
    const line = (Math.floor(row / 16) * lines + Math.floor(column / 32)) * planes + p;
    const k = column % 32;
    const byte = bytes[line * 64 + 4 * (row % 16) + (k % 4)]!;
    value += 2 ** p * ((byte >> Math.floor(k / 4)) & 1);
  }
  return value;
}

/** Code of a row and column from base-3 strips. */
function base3Code(bytes: Buffer, columns: number, row: number, column: number): number {
  const rowBytes = 26 * Math.floor(columns / 128) + Math.ceil((columns % 128) / 5);
  const block = Math.floor(column / 128);
  const width = Math.min(128, columns - 128 * block);
  const strip = Math.floor((column % 128) / 20);
  const k = (column % 128) % 20;
  const t = Math.min(4, Math.ceil((width - 20 * strip) / 5));
  const byte =
    bytes[16 * rowBytes * Math.floor(row / 16) + 416 * block + 64 * strip + t * (row % 16) + (k % t)]!;
  return Math.floor(byte / 3 ** Math.floor(k / t)) % 3;
}

export class PackedReader {
  readonly config: { quantization_config: { tensors: Record<string, Entry> } };
  readonly #bytes: Buffer;
  readonly #header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;
  readonly #data: number;

  constructor(folder: string) {
    this.config = JSON.parse(readFileSync(path.join(folder, 'config.json'), 'utf8'));
    this.#bytes = readFileSync(path.join(folder, 'model.safetensors'));
    const length = Number(this.#bytes.readBigUInt64LE(0));
    this.#header = JSON.parse(this.#bytes.toString('utf8', 8, 8 + length));
    this.#data = 8 + length;
  }

  get entries(): Record<string, Entry> {
    return this.config.quantization_config.tensors;
  }

  /** Stored bytes, padding included. */
  stored(name: string): Buffer {
    const [begin, end] = this.#header[name]!.data_offsets;
    return this.#bytes.subarray(this.#data + begin, this.#data + end);
  }

  /** Effective weight of a linear, `[rows, columns]`; without the column scale unless asked for. */
  linear(name: string, withColumnScale = false): number[] {
    const entry = this.entries[name]!;
    const [rows = 0, columns = 0] = entry.shape;
    const lines = Math.ceil(columns / 32);
    const blocks = Math.ceil(columns / 128);
    const stored = this.stored(`${name}.dbell.${entry.codes === 'base-3' ? 'base3' : 'planes'}`);
    const code = (row: number, column: number): number =>
      entry.codes === 'base-3'
        ? base3Code(stored, columns, row, column)
        : planeCode(stored, lines, entry.planes, row, column);
    const residual = this.#residual(name);
    const halfAt = (tensor: string, index: number): number =>
      binary16(this.stored(`${name}.dbell.${tensor}`).readUInt16LE(2 * index));
    const weights: number[] = [];
    for (let row = 0; row < rows; row += 1)
      for (let column = 0; column < columns; column += 1) {
        const q = code(row, column);
        const block = Math.floor(column / 128);
        const group = Math.floor(row / 16);
        let weight: number;
        if (entry.layout === 'grid') {
          const index = (group * blocks + block) * 16 + (row % 16);
          weight = Math.fround(halfAt('scales', index) * (q - (entry.levels - 1) / 2));
          if (entry.offsets) weight = Math.fround(weight + halfAt('offsets', index));
          if (entry.row_scale)
            weight = Math.fround(weight * this.stored(`${name}.dbell.row_scale`).readFloatLE(4 * row));
          weight = Math.fround(weight + residual(row, column));
        } else {
          const v = (which: number) =>
            halfAt('levels', ((group * blocks + block) * 7 + which) * 16 + (row % 16));
          const mask = this.stored(`${name}.dbell.salient_mask`);
          const inBlock = column % 128;
          const salient = (mask[block * 16 + Math.floor(inBlock / 8)]! >> (inBlock % 8)) & 1;
          const s0 = q & 1 ? 1 : -1;
          const s1 = q & 2 ? 1 : -1;
          if (salient) weight = Math.fround(Math.fround(v(4) + s0 * v(5)) + s1 * v(6));
          else weight = q & 2 ? Math.fround(v(2) + s0 * v(3)) : Math.fround(v(0) + s0 * v(1));
        }
        if (withColumnScale && entry.column_scale)
          weight = Math.fround(weight * this.stored(`${name}.dbell.column_scale`).readFloatLE(4 * column));
        weights.push(weight);
      }
    return weights;
  }

  /** What is added to the weight of a row and column; 0 where the column has no residual. */
  #residual(name: string): (row: number, column: number) => number {
    const count = this.entries[name]!.residual_columns ?? 0;
    if (count === 0) return () => 0;
    const listed = this.stored(`${name}.dbell.residual_columns`);
    const planes = this.stored(`${name}.dbell.residual_planes`);
    const scales = this.stored(`${name}.dbell.residual_scales`);
    const columns = Array.from({ length: count }, (_, k) => listed.readInt32LE(4 * k));
    return (row, column) => {
      const k = columns.indexOf(column);
      if (k === -1) return 0;
      const index = (Math.floor(row / 16) * Math.ceil(count / 128) + Math.floor(k / 128)) * 16 + (row % 16);
      const scale = binary16(scales.readUInt16LE(2 * index));
      return Math.fround(scale * (planeCode(planes, Math.ceil(count / 32), 1, row, k) - 0.5));
    };
  }

  bias(name: string): number[] | null {
    const entry = this.entries[name]!;
    if (!entry.bias) return null;
    const bytes = this.stored(`${name}.dbell.bias`);
    return Array.from({ length: entry.shape[0]! }, (_, row) => bytes.readFloatLE(4 * row));
  }

  /** A table or float tensor. */
  values(name: string): number[] {
    const entry = this.entries[name]!;
    const count = entry.shape.reduce((product, size) => product * size, 1);
    if (entry.layout === 'table' && entry.bits === 8) {
      const columns = entry.shape[1]!;
      const groups = Math.ceil(columns / 32);
      const codes = this.stored(`${name}.dbell.codes`);
      const scales = this.stored(`${name}.dbell.scales`);
      return Array.from({ length: count }, (_, index) => {
        const row = Math.floor(index / columns);
        const column = index % columns;
        const scale = binary16(scales.readUInt16LE(2 * (row * groups + Math.floor(column / 32))));
        return Math.fround(scale * codes.readInt8(row * groups * 32 + column));
      });
    }
    if (entry.layout === 'table' && entry.bits < 8) return this.#packedTable(name, entry);
    const bytes = this.stored(name);
    const half = entry.layout === 'table' || entry.dtype === 'F16';
    return Array.from({ length: count }, (_, index) =>
      half ? binary16(bytes.readUInt16LE(2 * index)) : bytes.readFloatLE(4 * index),
    );
  }

  /** Tables of 6 and 4 bits, by groups of 16 rows. */
  #packedTable(name: string, { shape, bits }: Entry): number[] {
    const [rows = 0, columns = 0] = shape;
    const groups = Math.ceil(columns / 32);
    const codes = this.stored(`${name}.dbell.codes`);
    const scales = this.stored(`${name}.dbell.scales`);
    return Array.from({ length: rows * columns }, (_, index) => {
      const row = Math.floor(index / columns);
      const column = index % columns;
      const group = Math.floor(row / 16) * groups + Math.floor(column / 32);
      const k = column % 32;
      const byte = (line: number) => codes[(group * bits + line) * 64 + 4 * (row % 16) + (k % 4)]!;
      const quad = Math.floor((k % 16) / 4);
      let field = k < 16 ? byte(quad) % 16 : Math.floor(byte(quad) / 16);
      if (bits === 6) field += 16 * (Math.floor(byte(k < 16 ? 4 : 5) / 4 ** quad) % 4);
      const scale = binary16(scales.readUInt16LE(2 * (group * 16 + (row % 16))));
      return Math.fround(scale * (field - 2 ** (bits - 1)));
    });
  }
}
