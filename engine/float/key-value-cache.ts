import type { Architecture } from '../model/architecture.ts';
import type { Feed } from './session.ts';

/** Positions that a new cache has room for; it doubles when they run out, up to its limit. */
const initialPositions = 256;

/**
 * Keys (rotated) and values of one block for the positions seen so far. Position-major, so that the filled part is one contiguous view which
 * onnxruntime reads in place: `[position, keyValueHeads, headDimension]`.
 */
export class KeyValueCache {
  private readonly rowSize: number;
  private readonly heads: number;
  private readonly headDimension: number;
  private readonly limit: number;
  private keys: Float32Array;
  private values: Float32Array;
  private filled = 0;

  /** @param limit positions that the cache may ever hold */
  constructor(architecture: Architecture, limit: number) {
    this.heads = architecture.keyValueHeadCount;
    this.headDimension = architecture.headDimension;
    this.rowSize = this.heads * this.headDimension;
    this.limit = limit;
    const capacity = Math.min(initialPositions, limit);
    this.keys = new Float32Array(capacity * this.rowSize);
    this.values = new Float32Array(capacity * this.rowSize);
  }

  get positions(): number {
    return this.filled;
  }

  get byteLength(): number {
    return this.keys.byteLength + this.values.byteLength;
  }

  /** Appends keys and values of new positions, `[rows, keyValueHeads, headDimension]` each. */
  append(keys: Float32Array, values: Float32Array): void {
    const rows = keys.length / this.rowSize;
    this.reserve(this.filled + rows);
    this.keys.set(keys, this.filled * this.rowSize);
    this.values.set(values, this.filled * this.rowSize);
    this.filled += rows;
  }

  /** The last `count` positions as graph inputs, without a copy. */
  latest(count: number): { 'cache.key': Feed; 'cache.value': Feed } {
    const shape = [count, this.heads, this.headDimension];
    const begin = (this.filled - count) * this.rowSize;
    const end = this.filled * this.rowSize;
    return {
      'cache.key': { data: this.keys.subarray(begin, end), shape },
      'cache.value': { data: this.values.subarray(begin, end), shape },
    };
  }

  /** Forgets the positions from `count` on. */
  truncate(count: number): void {
    this.filled = Math.min(this.filled, count);
  }

  private reserve(positions: number): void {
    let capacity = this.keys.length / this.rowSize;
    if (positions <= capacity) return;
    while (capacity < positions) capacity *= 2;
    capacity = Math.min(capacity, this.limit);
    const grown = (old: Float32Array): Float32Array => {
      const array = new Float32Array(capacity * this.rowSize);
      array.set(old.subarray(0, this.filled * this.rowSize));
      return array;
    };
    this.keys = grown(this.keys);
    this.values = grown(this.values);
  }
}
