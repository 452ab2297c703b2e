import type { StoredType } from './source.ts';
import { type Widen, widenBF16, widenF16, widenF32, widenF64 } from './widen.ts';

/** How a type that can be read as float32 is stored: `blockBytes` hold `blockElements` consecutive elements of a row. */
export interface StoredLayout {
  blockElements: number;
  blockBytes: number;
  widen: Widen;
}

const layouts: Partial<Record<StoredType, StoredLayout>> = {
  F32: { blockElements: 1, blockBytes: 4, widen: widenF32 },
  F16: { blockElements: 1, blockBytes: 2, widen: widenF16 },
  BF16: { blockElements: 1, blockBytes: 2, widen: widenBF16 },
  F64: { blockElements: 1, blockBytes: 8, widen: widenF64 },
};

/** Layout of a stored type, or null where it holds no numbers that a weight could have. */
export function storedLayout(type: StoredType): StoredLayout | null {
  return layouts[type] ?? null;
}

export const readableTypes = Object.keys(layouts);
