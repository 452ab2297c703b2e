import { createHash } from 'node:crypto';
import { DBellError } from '../contract/errors.ts';
import { onlineScale, quantizeOnline, readTernaryRows } from './bitnet.ts';
import type { ByteSource } from './byte-source.ts';
import { READ_CHUNK_BYTES } from './limits.ts';
import { detectLowBit, readStoredLowBit } from './low-bit.ts';
import { count, quote } from './problems.ts';
import type { LowBitWeight } from './source.ts';
import { storedLayout } from './stored-types.ts';
import { deinterleave, type WeightLocation } from './weight-location.ts';

/** Reads weights by name and widens them to float32, at most READ_CHUNK_BYTES of stored bytes at a time. */
export class WeightReader {
  readonly locations: ReadonlyMap<string, WeightLocation>;
  #scratch = new Uint8Array(0);
  readonly #onlineScales = new Map<string, number>();

  constructor(locations: ReadonlyMap<string, WeightLocation>) {
    this.locations = locations;
  }

  read(name: string, into?: Float32Array): Float32Array {
    const location = this.#find(name);
    const elements = location.shape.reduce((product, size) => product * size, 1);
    const target = this.#target(name, elements, into);
    const rows = location.shape[0] ?? 1;
    this.#readRows(name, location, 0, rows, elements / Math.max(rows, 1), target);
    return target;
  }

  readRows(name: string, begin: number, rows: number, into?: Float32Array): Float32Array {
    const location = this.#find(name);
    const [allRows, rowElements] = location.shape;
    if (location.shape.length !== 2 || allRows === undefined || rowElements === undefined)
      throw new DBellError(
        'invalid-input',
        `${name} has ${location.shape.length} dimensions; rows can be read of 2`,
      );
    if (
      !Number.isInteger(begin) ||
      !Number.isInteger(rows) ||
      begin < 0 ||
      rows < 0 ||
      begin + rows > allRows
    )
      throw new DBellError(
        'invalid-input',
        `${name}: rows ${begin} … ${begin + rows} of ${allRows} were asked for`,
      );
    const target = this.#target(name, rows * rowElements, into);
    this.#readRows(name, location, begin, rows, rowElements, target);
    return target;
  }

  /**
   * The weight's own codes and scales where its stored type has few levels, or where its float values turn out to have; null else. Reads the whole weight.
   */
  readLowBit(name: string): LowBitWeight | null {
    const location = this.#find(name);
    const stored = readStoredLowBit(name, location);
    if (stored !== null) return stored;
    const [rows = 0, columns = 0] = location.shape;
    if (location.shape.length !== 2) return null;
    const detected = detectLowBit(this.read(name), rows, columns);
    return 'codes' in detected ? detected : null;
  }

  #find(name: string): WeightLocation {
    const location = this.locations.get(name);
    if (location === undefined)
      throw new DBellError('invalid-input', `the model has no tensor ${quote(name)}`);
    return location;
  }

  #target(name: string, elements: number, into?: Float32Array): Float32Array {
    if (into === undefined) return new Float32Array(elements);
    if (into.length !== elements)
      throw new DBellError(
        'invalid-input',
        `${name} has ${count(elements)} elements but the array to read into has ${count(into.length)}`,
      );
    return into;
  }

  #readRows(
    name: string,
    location: WeightLocation,
    begin: number,
    rows: number,
    rowElements: number,
    target: Float32Array,
  ): void {
    if (target.length === 0) return;
    if (location.ternary !== undefined) {
      readTernaryRows(name, location, begin, rows, target);
      return;
    }
    if (location.isOnline) {
      this.#readOnlineRows(name, location, begin, rows, rowElements, target);
      return;
    }
    const layout = storedLayout(location.storedType);
    if (layout === null)
      throw new DBellError(
        'unsupported-model',
        `${name} is stored as ${location.storedType}, which holds no weights`,
      );
    const rowBytes = (rowElements / layout.blockElements) * layout.blockBytes;
    if (location.interleavedHeads !== undefined) {
      const headRows = location.shape[0]! / location.interleavedHeads;
      const sourceRow = deinterleave(headRows);
      // Rows of one head lie together; a head is read at a time.
      const head = this.#scratchOf(headRows * rowBytes);
      let loaded = -1;
      for (let row = 0; row < rows; row++) {
        const index = Math.floor((begin + row) / headRows);
        if (index !== loaded) location.source.readInto(location.position + index * head.length, head);
        loaded = index;
        const at = sourceRow((begin + row) % headRows) * rowBytes;
        layout.widen(head.subarray(at, at + rowBytes), target, row * rowElements);
      }
    } else if (location.storedType === 'F32') {
      // No scratch is needed: it is read where it belongs.
      location.source.readInto(
        location.position + begin * rowBytes,
        new Uint8Array(target.buffer, target.byteOffset, target.byteLength),
      );
    } else {
      const first = location.position + begin * rowBytes;
      const totalBytes = rows * rowBytes;
      const chunk = Math.max(layout.blockBytes, READ_CHUNK_BYTES - (READ_CHUNK_BYTES % layout.blockBytes));
      for (let done = 0; done < totalBytes; done += chunk) {
        const scratch = this.#scratchOf(Math.min(chunk, totalBytes - done));
        location.source.readInto(first + done, scratch);
        layout.widen(scratch, target, (done / layout.blockBytes) * layout.blockElements);
      }
    }
    const { multiplier } = location;
    if (multiplier !== undefined) for (let i = 0; i < target.length; i++) target[i] = target[i]! * multiplier;
    refuseNonFinite(name, location, target, begin * rowElements);
  }

  #readOnlineRows(
    name: string,
    location: WeightLocation,
    begin: number,
    rows: number,
    rowElements: number,
    target: Float32Array,
  ): void {
    const plain = { ...location, isOnline: false };
    let scale = this.#onlineScales.get(name);
    if (scale === undefined) {
      scale = onlineScale(location, (first, count) => {
        const values = new Float32Array(count * rowElements);
        this.#readRows(name, plain, first, count, rowElements, values);
        return values;
      });
      this.#onlineScales.set(name, scale);
    }
    this.#readRows(name, plain, begin, rows, rowElements, target);
    quantizeOnline(target, scale);
  }

  #scratchOf(bytes: number): Uint8Array {
    if (this.#scratch.length < bytes) this.#scratch = new Uint8Array(bytes);
    return this.#scratch.subarray(0, bytes);
  }
}

function refuseNonFinite(name: string, location: WeightLocation, values: Float32Array, offset: number): void {
  for (let i = 0; i < values.length; i++) {
    // x − x is NaN exactly for NaN and the infinities.
    const value = values[i]!;
    if (value - value === 0) continue;
    const index = offset + i;
    const coordinates: number[] = [];
    let rest = index;
    for (const size of [...location.shape].reverse()) {
      coordinates.unshift(rest % size);
      rest = Math.floor(rest / size);
    }
    throw new DBellError(
      'invalid-model',
      `${location.source.name}: tensor ${quote(name)} holds ${value} at [${coordinates.join(', ')}]; the file is damaged`,
    );
  }
}

/** True when two tensors have the same type, shape and bytes; stops at the first difference. */
export function sameBytes(a: WeightLocation, b: WeightLocation): boolean {
  if (a.storedType !== b.storedType || a.bytes !== b.bytes || a.shape.join() !== b.shape.join()) return false;
  for (let done = 0; done < a.bytes; done += READ_CHUNK_BYTES) {
    const length = Math.min(READ_CHUNK_BYTES, a.bytes - done);
    const left = new Uint8Array(length);
    const right = new Uint8Array(length);
    a.source.readInto(a.position + done, left);
    b.source.readInto(b.position + done, right);
    if (Buffer.compare(left, right) !== 0) return false;
  }
  return true;
}

/** SHA-256 over `preface` and every byte of the sources in their order, each preceded by its length; hex. */
export async function hashSources(preface: string, sources: readonly ByteSource[]): Promise<string> {
  const hash = createHash('sha256');
  hash.update(preface);
  const buffer = new Uint8Array(READ_CHUNK_BYTES);
  for (const source of sources) {
    hash.update(`\n${source.size}\n`);
    for (let done = 0; done < source.size; done += buffer.length) {
      const chunk = buffer.subarray(0, Math.min(buffer.length, source.size - done));
      source.readInto(done, chunk);
      hash.update(chunk);
      // Lets timers and messages through: a large model takes seconds.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  return hash.digest('hex');
}
