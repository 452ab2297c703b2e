import os from 'node:os';

/** 0 means all cores that this process may use. */
export function threadCount(threads: number): number {
  return threads === 0 ? os.availableParallelism() : threads;
}
