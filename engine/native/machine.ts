import { loadAddon } from './index.ts';

/** What the addon measures of the machine itself. Calls block their thread. */
export interface NativeMachine {
  /**
   * Reads a buffer of `bytes` (8 … 4 GiB; word i of 64 bits holds i) `passes` times with all native threads, each its own contiguous parts. `seconds` is the
   * shortest pass, `sum` that of the words modulo 2^64. Throws where the memory is not there.
   */
  measureMemoryRead(bytes: number, passes: number): { seconds: number; sum: bigint; threads: number };
}

export const machine = loadAddon() as NativeMachine;
