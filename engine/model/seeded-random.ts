/** Mixes a 32-bit integer so that neighbouring inputs give unrelated outputs (the finalizer of MurmurHash3, Appleby). */
export function mix32(value: number): number {
  let mixed = value | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

/**
 * Seeded pseudo-random numbers, equal on every machine: xoshiro128** (Blackman and Vigna 2018), its state filled from the seed by a Weyl sequence through
 * `mix32`.
 */
export class SeededRandom {
  readonly #state = new Uint32Array(4);

  /** `seed`: a safe integer from 0. */
  constructor(seed: number) {
    const low = seed >>> 0;
    const high = Math.floor(seed / 2 ** 32) >>> 0;
    for (let index = 0; index < 4; index++)
      this.#state[index] = mix32(mix32(low + Math.imul(index + 1, 0x9e3779b9)) ^ (high + index));
    // The all-zero state is the one that the generator never leaves.
    if (this.#state.every((word) => word === 0)) this.#state[0] = 1;
  }

  /** Uniform integer in [0, 2^32). */
  nextUint32(): number {
    const state = this.#state as Uint32Array & { 0: number; 1: number; 2: number; 3: number };
    const product = Math.imul(state[1], 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const shifted = state[1] << 9;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = (state[3] << 11) | (state[3] >>> 21);
    return result;
  }

  /** Uniform in [0, 1) with 53 bits. */
  nextDouble(): number {
    const high = this.nextUint32() >>> 5;
    const low = this.nextUint32() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }
}
