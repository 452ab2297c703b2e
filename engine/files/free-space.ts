import { existsSync, statfsSync } from 'node:fs';
import path from 'node:path';
import { probedFreeBytes } from './faults.ts';

/** The folder itself, or the nearest one above it that exists. */
export function nearestExistingFolder(target: string): string {
  let folder = path.resolve(target);
  while (!existsSync(folder) && path.dirname(folder) !== folder) folder = path.dirname(folder);
  return folder;
}

/**
 * Bytes that may still be written to the volume of `target`, which need not exist yet.
 * Infinity where the volume counts no blocks at all: it has no size to run out of, or keeps no files (`checkCreatable` tells).
 * @throws what the operating system says where it does not know
 */
export function freeBytes(target: string): number {
  const folder = nearestExistingFolder(target);
  const probed = probedFreeBytes(folder);
  if (probed !== null) return probed;
  const volume = statfsSync(folder);
  if (volume.blocks === 0) return Number.POSITIVE_INFINITY;
  return volume.bavail * volume.bsize;
}
