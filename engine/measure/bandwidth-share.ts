import { sumOfBytes } from '../contract/itemised-bytes.ts';
import type { BenchmarkSubject, MemoryBandwidth } from '../contract/measurement.ts';

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

/** The same of every depth that was decoded at; depths whose bytes fit the last cache are left out. */
export function bandwidthShares(
  {
    decodeTokensPerSecond,
    bytesReadPerToken,
  }: Pick<BenchmarkSubject, 'decodeTokensPerSecond' | 'bytesReadPerToken'>,
  bandwidth: MemoryBandwidth,
): Record<string, number> {
  const shares: Record<string, number> = {};
  for (const [depth, items] of Object.entries(bytesReadPerToken)) {
    const share = bandwidthShare(decodeTokensPerSecond[depth] ?? 0, sumOfBytes(items), bandwidth);
    if (share !== null) shares[depth] = share;
  }
  return shares;
}
