import type { Int8Peak, KernelTable, KernelTableRow, MemoryBandwidth } from '../contract/measurement.ts';
import { threads as nativeThreads } from '../native/index.ts';
import { machine } from '../native/machine.ts';
import { type KernelName, runtime } from '../native/runtime.ts';
import { measureMemoryBandwidth } from './memory-bandwidth.ts';

/** What every kernel is tried on: up and gate of a model of 1.1 billion parameters. */
const matrix = { rows: 5632, columns: 2048 } as const;
const storages = [
  { name: '1 bit', levels: 2, isBase3: false },
  { name: 'ternary, base 3', levels: 3, isBase3: true },
  { name: '2 bits', levels: 4, isBase3: false },
  { name: '3 bits', levels: 8, isBase3: false },
  { name: '4 bits', levels: 16, isBase3: false },
] as const;
/** One token reads weights once for each, 128 use them many times. */
const tokenCounts = [1, 128] as const;
/** Matrices together: beyond a last cache of an ordinary machine for one token; for many the arithmetic counts. */
const decodeBytes = 256 * 2 ** 20;
const passes = { fast: 5, peak: 10 } as const;
/** The plain kernels take seconds where others take milliseconds; one pass over one matrix tells enough. */
const slowSets: readonly KernelName[] = ['generic'];

/**
 * Every instruction set that this machine runs, with every way in which codes are stored: microseconds of a matrix, bytes a second beside the measured read bandwidth,
 * operations beside the measured int8 peak of the set. One thread and `threadCount`. Takes a minute or two. Throws DBellError `out-of-memory`.
 */
export async function measureKernelTable(
  threadCount: number,
  control: {
    border?: () => Promise<void>;
    onProgress?: (row: string, index: number, count: number) => void;
    /** Smaller for tests. */
    totalBytes?: number;
  } = {},
): Promise<KernelTable> {
  const names = runtime.packedKernelNames();
  const counts = [...new Set([1, threadCount])];
  const bandwidth: MemoryBandwidth[] = [];
  const peaks: Int8Peak[] = [];
  const rows: KernelTableRow[] = [];
  const count = counts.length * names.length * storages.length * tokenCounts.length;
  for (const threads of counts) {
    bandwidth.push(measureMemoryBandwidth(threads));
    for (const kernels of names) {
      const isSlow = slowSets.includes(kernels);
      nativeThreads.setThreadCount(threads);
      const peak = machine.measureInt8Peak(kernels, passes.peak);
      peaks.push({ kernels, ...peak });
      for (const { name, levels, isBase3 } of storages)
        for (const tokens of tokenCounts) {
          await control.border?.();
          control.onProgress?.(`${kernels}, ${name}, ${tokens} tokens`, rows.length, count);
          const totalBytes = tokens === 1 && !isSlow ? (control.totalBytes ?? decodeBytes) : 0;
          const { rows: out, columns } = isSlow ? { rows: 128, columns: 2048 } : matrix;
          const timing = machine.timeGridKernel(
            ...([kernels, levels, isBase3, out, columns, tokens] as const),
            ...([totalBytes, isSlow ? 1 : passes.fast] as const),
          );
          const operations = 2 * out * columns * tokens;
          rows.push({
            ...{ kernels, storage: name, threads, tokens, rows: out, columns },
            microseconds: 1e6 * timing.seconds,
            bytesPerSecond: timing.bytes / timing.seconds,
            bandwidthShare: timing.bytes / timing.seconds / bandwidth.at(-1)!.bytesPerSecond,
            operationsPerSecond: operations / timing.seconds,
            peakShare: operations / timing.seconds / peak.operationsPerSecond,
          });
        }
    }
  }
  return { rows, peaks, bandwidth, chosen: process.env.DBELL_FORCE_ISA || (names.at(-1) ?? 'generic') };
}
