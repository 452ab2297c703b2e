import type { Architecture } from './architecture.ts';

/** Keys and values are held as float32 by every engine. */
const bytesPerValue = 4;

/**
 * Bytes of keys and values that decoding one token reads with `depth` tokens in the cache before it: of each block, those tokens and the new one, as many as the
 * attention sees (a sliding window sees no more than its length).
 */
export function keyValueBytesRead(
  { blocks, keyValueHeadCount, headDimension, slidingWindow }: Architecture,
  depth: number,
): number {
  const positions = Math.min(depth + 1, slidingWindow ?? Number.POSITIVE_INFINITY);
  return 2 * blocks.length * keyValueHeadCount * headDimension * positions * bytesPerValue;
}
