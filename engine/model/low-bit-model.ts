import { type Architecture, linearsOf } from './architecture.ts';
import { lowBitBlocks } from './gguf/low-bit-blocks.ts';
import { detectLowBit } from './low-bit.ts';
import type { StoredType } from './source.ts';

/** What is known, from headers and a few rows, of a model whose linears all have two to four levels. */
export interface LowBitSummary {
  /** Most levels of any linear; Q2_0 and TQ2_0 count as the ternary models that use them. */
  levels: 2 | 3;
  /** Stored types of the linears. */
  storedTypes: StoredType[];
  /** True where the codes stand in the file; false where float weights were found to have few levels in the rows looked at. */
  isStored: boolean;
}

/** Rows of a float linear that are looked at, in the first and the last block; enough that no float weights look ternary by chance. */
const sampledRows = 8;

/**
 * Whether `as-is` can be expected to keep the model. Reads some rows of float linears; the weights themselves decide when they are packed.
 *
 * @returns the name of a linear that has more levels, where there is one
 */
export function summariseLowBit(
  architecture: Architecture,
  storedTypeOf: (name: string) => StoredType | undefined,
  readRows: (name: string, begin: number, count: number) => Float32Array,
): LowBitSummary | string {
  const storedTypes = new Set<StoredType>();
  let levels: 2 | 3 = 2;
  let isStored = true;
  const { blocks } = architecture;
  for (const block of blocks)
    for (const { name, outFeatures, inFeatures } of linearsOf(block)) {
      const weight = `${name}.weight`;
      const type = storedTypeOf(weight);
      if (type === undefined) return name;
      storedTypes.add(type);
      if (type === 'U8_TERNARY' || lowBitBlocks[type] !== undefined) {
        if (type !== 'Q1_0') levels = 3;
        continue;
      }
      isStored = false;
      if (block.index !== 0 && block.index !== blocks.length - 1) continue;
      const rows = Math.min(sampledRows, outFeatures);
      const found = detectLowBit(readRows(weight, 0, rows), rows, inFeatures);
      if (!('codes' in found)) return name;
      if (found.levels === 3) levels = 3;
    }
  return { levels, storedTypes: [...storedTypes].sort(), isStored };
}
