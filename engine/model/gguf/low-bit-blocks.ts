import type { StoredType } from '../source.ts';
import { half, type Widen } from '../widen.ts';

/**
 * ggml's one- and two-bit blocks whose values are an fp16 scale times a small whole number: d · (2q − 1) with two levels, d · (q − 1) else. Their
 * codes can be carried over without loss (low-bit.ts), so they are unpacked here as codes, and widened from those.
 */
export interface LowBitBlock {
  elements: number;
  bytes: number;
  /** Codes that occur: 0 … levels − 1. Q2_0 and TQ2_0 name 3 as +2, though no ternary model uses it. */
  levels: 2 | 3 | 4;
  /** Position of the fp16 scale in the block. */
  scalePosition: number;
  /** Unpacks the codes of the block at `at` into `target[begin …]`. */
  unpack(source: Uint8Array, at: number, target: Uint8Array, begin: number): void;
}

/** 128 signs behind the scale, lowest bit first; 1 is +d. */
const q1_0: LowBitBlock = {
  elements: 128,
  bytes: 18,
  levels: 2,
  scalePosition: 0,
  unpack(source, at, target, begin) {
    for (let i = 0; i < 128; i++) target[begin + i] = (source[at + 2 + (i >> 3)]! >> (i & 7)) & 1;
  },
};

/** Two-bit codes behind the scale, four a byte, lowest pair first. */
function q2_0(elements: number): LowBitBlock {
  return {
    elements,
    bytes: 2 + elements / 4,
    levels: 4,
    scalePosition: 0,
    unpack(source, at, target, begin) {
      for (let i = 0; i < elements; i++)
        target[begin + i] = (source[at + 2 + (i >> 2)]! >> (2 * (i & 3))) & 3;
    },
  };
}

/** 64 bytes before the scale: each run of 32 bytes holds 128 values, the lowest pairs of all bytes first. */
const tq2_0: LowBitBlock = {
  elements: 256,
  bytes: 66,
  levels: 4,
  scalePosition: 64,
  unpack(source, at, target, begin) {
    for (let i = 0; i < 256; i++)
      target[begin + i] = (source[at + 32 * (i >> 7) + (i & 31)]! >> (2 * ((i >> 5) & 3))) & 3;
  },
};

/**
 * Base 3, five codes a byte: the byte is the fraction 0.t0t1t2t3t4 in base 3, scaled to 256 and rounded up, so that each multiplication by 3 moves the
 * next code into the ninth bit. Every byte value means five codes. 32 bytes hold values 0 … 159, 16 bytes 160 … 239, and 4 bytes with four codes each
 * the rest; within a run, the first codes of all bytes come first.
 */
const tq1_0: LowBitBlock = {
  elements: 256,
  bytes: 54,
  levels: 3,
  scalePosition: 52,
  unpack(source, at, target, begin) {
    let out = begin;
    for (const [first, count, digits] of [
      [0, 32, 5],
      [32, 16, 5],
      [48, 4, 4],
    ] as const)
      for (let digit = 0, power = 1; digit < digits; digit++, power *= 3)
        for (let i = 0; i < count; i++) target[out++] = (((source[at + first + i]! * power) & 255) * 3) >> 8;
  },
};

export const lowBitBlocks: Partial<Record<StoredType, LowBitBlock>> = {
  Q1_0: q1_0,
  Q2_0: q2_0(64),
  Q2_0_G128: q2_0(128),
  TQ1_0: tq1_0,
  TQ2_0: tq2_0,
};

/** Whole number that a code stands for, times the scale. */
export function lowBitValue(code: number, levels: 2 | 3 | 4): number {
  return levels === 2 ? 2 * code - 1 : code - 1;
}

/** Widening of a low-bit type; every product is exact. */
export function widenLowBit(block: LowBitBlock): Widen {
  const codes = new Uint8Array(block.elements);
  return (source, target, begin) => {
    let out = begin;
    for (let at = 0; at < source.length; at += block.bytes) {
      const scale = lowBitScale(block, source, at);
      block.unpack(source, at, codes, 0);
      for (const code of codes) target[out++] = scale * lowBitValue(code, block.levels);
    }
  };
}

/** Scale of the block at `at`. */
export function lowBitScale(block: LowBitBlock, source: Uint8Array, at: number): number {
  const position = at + block.scalePosition;
  return half(source[position]! | (source[position + 1]! << 8));
}
