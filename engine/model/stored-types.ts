import {
  widenQ2_K,
  widenQ3_K,
  widenQ4_0,
  widenQ4_1,
  widenQ4_K,
  widenQ5_0,
  widenQ5_1,
  widenQ5_K,
  widenQ6_K,
  widenQ8_0,
} from './gguf/dequantize.ts';
import { lowBitBlocks, widenLowBit } from './gguf/low-bit-blocks.ts';
import { ggmlBlocks } from './gguf/types.ts';
import type { StoredType } from './source.ts';
import { type Widen, widenBF16, widenF16, widenF32, widenF64 } from './widen.ts';

/** How a type that can be read as float32 is stored: `blockBytes` hold `blockElements` consecutive elements of a row. */
export interface StoredLayout {
  blockElements: number;
  blockBytes: number;
  widen: Widen;
}

const widenings: Partial<Record<StoredType, Widen>> = {
  F32: widenF32,
  F16: widenF16,
  BF16: widenBF16,
  F64: widenF64,
  Q8_0: widenQ8_0,
  Q4_0: widenQ4_0,
  Q4_1: widenQ4_1,
  Q5_0: widenQ5_0,
  Q5_1: widenQ5_1,
  Q2_K: widenQ2_K,
  Q3_K: widenQ3_K,
  Q4_K: widenQ4_K,
  Q5_K: widenQ5_K,
  Q6_K: widenQ6_K,
  ...Object.fromEntries(Object.entries(lowBitBlocks).map(([type, block]) => [type, widenLowBit(block)])),
};

/** Layout of a stored type, or null where it holds no numbers that a weight could have. */
export function storedLayout(type: StoredType): StoredLayout | null {
  const widen = widenings[type];
  const block = ggmlBlocks[type];
  if (widen === undefined || block === undefined) return null;
  return { blockElements: block.elements, blockBytes: block.bytes, widen };
}

/** Types that weights can be read from, by their names in files. */
export const readableTypes = Object.keys(widenings).filter((type) => type !== 'Q2_0_G128');
