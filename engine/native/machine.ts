import { loadAddon } from './index.ts';
import type { KernelName } from './runtime.ts';

/** What the addon measures of the machine itself. Calls block their thread. */
export interface NativeMachine {
  /**
   * Reads a buffer of `bytes` (8 … 4 GiB; word i of 64 bits holds i) `passes` times with all native threads, each its own contiguous parts. `seconds` is the
   * shortest pass, `sum` that of the words modulo 2^64. Throws where the memory is not there.
   */
  measureMemoryRead(bytes: number, passes: number): { seconds: number; sum: bigint; threads: number };
  /**
   * Most int8 multiplications and additions a second (two for a product that is added) of all native threads with the instructions of a set, the shortest of the
   * passes. Throws where this machine cannot run the set.
   */
  measureInt8Peak(
    kernels: KernelName,
    passes: number,
  ): { operationsPerSecond: number; threads: number; instruction: string };
  /**
   * The grid kernel of a set by itself: matrices `[rows, columns]` of random codes, as many as fill `totalBytes` (at least one), 1 … 256 tokens of 8-bit activations, all native
   * threads. `seconds` and `bytes` are of one matrix, from the shortest pass over all. Throws where the set cannot run or the memory is not there.
   */
  timeGridKernel(
    kernels: KernelName,
    levels: number,
    isBase3: boolean,
    rows: number,
    columns: number,
    tokens: number,
    totalBytes: number,
    passes: number,
  ): { seconds: number; bytes: number; matrices: number; threads: number };
}

export const machine = loadAddon() as NativeMachine;
