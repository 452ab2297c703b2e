import type { Architecture } from '../model/architecture.ts';
import type { Feed } from './session.ts';

/**
 * Room grows by so many positions. Blocks read the whole room, filled or not, so much more than is needed would cost time.
 */
const positionsPerStep = 256;

/**
 * Keys (rotated) and values of one block for the positions seen so far, `[keyValueHeads, capacity, headDimension]` each, so that onnxruntime
 * multiplies them in place.
 */
export class KeyValueCache {
  private readonly heads: number;
  private readonly headDimension: number;
  private readonly limit: number;
  private room: number;
  private keys: Float32Array;
  private values: Float32Array;
  private filled = 0;

  /** @param limit positions that the cache may ever hold */
  constructor(architecture: Architecture, limit: number) {
    this.heads = architecture.keyValueHeadCount;
    this.headDimension = architecture.headDimension;
    this.limit = limit;
    this.room = Math.min(positionsPerStep, limit);
    this.keys = new Float32Array(this.heads * this.room * this.headDimension);
    this.values = new Float32Array(this.keys.length);
  }

  get positions(): number {
    return this.filled;
  }

  /** Positions that there is room for now. */
  get capacity(): number {
    return this.room;
  }

  get byteLength(): number {
    return this.keys.byteLength + this.values.byteLength;
  }

  /** Appends keys and values of new positions, `[rows, keyValueHeads, headDimension]` each. */
  append(keys: Float32Array, values: Float32Array): void {
    const rows = keys.length / (this.heads * this.headDimension);
    this.reserve(this.filled + rows);
    this.scatter(keys, this.keys, rows);
    this.scatter(values, this.values, rows);
    this.filled += rows;
  }

  /** The whole room as graph inputs, without a copy; what lies behind `positions` means nothing and has to be masked. */
  feeds(): { 'cache.key': Feed; 'cache.value': Feed } {
    const shape = [this.heads, this.room, this.headDimension];
    return {
      'cache.key': { data: this.keys, shape },
      'cache.value': { data: this.values, shape },
    };
  }

  /** Forgets the positions from `count` on, and gives their room back. */
  truncate(count: number): void {
    this.filled = Math.min(this.filled, count);
    this.resize(this.filled);
  }

  /** `[rows, heads, headDimension]` to each head's place behind its filled positions. */
  private scatter(from: Float32Array, to: Float32Array, rows: number): void {
    const { heads, headDimension } = this;
    for (let row = 0; row < rows; row++) {
      for (let head = 0; head < heads; head++) {
        const begin = (row * heads + head) * headDimension;
        to.set(
          from.subarray(begin, begin + headDimension),
          (head * this.room + this.filled + row) * headDimension,
        );
      }
    }
  }

  private reserve(positions: number): void {
    if (positions > this.room) this.resize(positions);
  }

  /** Makes room for `positions`, rounded up to whole steps; what is filled stays. */
  private resize(positions: number): void {
    const steps = Math.max(1, Math.ceil(positions / positionsPerStep));
    const room = Math.min(steps * positionsPerStep, this.limit);
    if (room === this.room) return;
    const moved = (old: Float32Array): Float32Array => {
      const array = new Float32Array(this.heads * room * this.headDimension);
      for (let head = 0; head < this.heads; head++) {
        const begin = head * this.room * this.headDimension;
        array.set(
          old.subarray(begin, begin + this.filled * this.headDimension),
          head * room * this.headDimension,
        );
      }
      return array;
    };
    this.keys = moved(this.keys);
    this.values = moved(this.values);
    this.room = room;
  }
}
