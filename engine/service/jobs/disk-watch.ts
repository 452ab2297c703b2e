import type { JobHold } from '../../contract/jobs.ts';
import { freeBytes } from '../../files/free-space.ts';
import { serviceLimits } from '../limits.ts';

export interface DiskWatchOptions {
  /** What is written; its volume is watched. */
  output: string;
  /** Asked each time, so that a changed setting holds at once; 0 = no floor. */
  floorBytes: () => number;
  /** Called when less is free than the floor, and again whenever the figure has changed while it is so. */
  onShort: (hold: JobHold) => void;
  /** Called when there is room again. */
  onRoom: () => void;
}

/** Watches the free space of an output's volume until the returned function is called. A volume that cannot be asked is taken to have room: writing will tell. */
export function watchDisk({ output, floorBytes, onShort, onRoom }: DiskWatchOptions): () => void {
  let known: number | null = null;
  const look = () => {
    let free: number;
    try {
      free = freeBytes(output);
    } catch {
      free = Number.POSITIVE_INFINITY;
    }
    const floor = floorBytes();
    const isShort =
      known === null ? free < floor : free < floor + Math.min(floor, serviceLimits.diskRoomMarginBytes);
    if (isShort && known !== free) {
      known = free;
      onShort({ reason: 'disk-floor', output, freeBytes: free, floorBytes: floor });
    } else if (!isShort && known !== null) {
      known = null;
      onRoom();
    }
  };
  const timer = setInterval(look, serviceLimits.diskWatchIntervalMs);
  timer.unref();
  look();
  return () => clearInterval(timer);
}
