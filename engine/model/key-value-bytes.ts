import type { KeyValueCache } from '../contract/common.ts';
import type { Architecture } from './architecture.ts';

/** Bytes of a value, and of the float32 step that the values of a head at one position share. */
const stored: Readonly<Record<KeyValueCache, { valueBytes: number; stepBytes: number }>> = {
  f32: { valueBytes: 4, stepBytes: 0 },
  f16: { valueBytes: 2, stepBytes: 0 },
  int8: { valueBytes: 1, stepBytes: 4 },
};

/**
 * Bytes of keys and values that decoding one token reads with `depth` tokens in the cache before it: of each block, those tokens and the new one, as many as the
 * attention sees (a sliding window sees no more than its length).
 */
export function keyValueBytesRead(
  { blocks, keyValueHeadCount, headDimension, slidingWindow }: Architecture,
  depth: number,
  cache: KeyValueCache = 'f32',
): number {
  const positions = Math.min(depth + 1, slidingWindow ?? Number.POSITIVE_INFINITY);
  const { valueBytes, stepBytes } = stored[cache];
  return 2 * blocks.length * keyValueHeadCount * positions * (headDimension * valueBytes + stepBytes);
}
