import type { MemoryBandwidth } from '../contract/measurement.ts';

/**
 * Share of the memory's bandwidth that decoding reached, `tokensPerSecond` · `bytesReadPerToken` / bandwidth. Null where what is read fits the last cache: it is
 * then read from there, and the memory bounds nothing.
 */
export function bandwidthShare(
  tokensPerSecond: number,
  bytesReadPerToken: number,
  bandwidth: MemoryBandwidth,
): number | null {
  if (bytesReadPerToken <= (bandwidth.lastLevelCacheBytes ?? 0)) return null;
  return (tokensPerSecond * bytesReadPerToken) / bandwidth.bytesPerSecond;
}
