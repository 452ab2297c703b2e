import os from 'node:os';
import { DBellError } from '../contract/errors.ts';
import type { MemoryBandwidth } from '../contract/measurement.ts';
import { threads as nativeThreads } from '../native/index.ts';
import { machine } from '../native/machine.ts';
import { machineConditions } from './conditions.ts';
import { median } from './statistics.ts';

/** Well beyond every last cache that is shared by few cores; several times it where the system tells a larger one. */
const leastBufferBytes = 256 * 2 ** 20;
const timesTheCache = 8;
/** A machine that has less than this many buffers free is not measured with a larger one. */
const shareOfFreeMemory = 1 / 8;
const mostBufferBytes = 2 * 2 ** 30;
/** The shortest of so many passes: whatever else the machine did, it did not do in that one. */
const passes = 12;

/**
 * How fast this machine reads memory in order with these threads (0 = all cores): the bound of decoding, which reads all weights for each token. Its process
 * should do nothing else before or afterwards whose memory is to be measured: the buffer stays in its peak. `givenBytes`: its size, else what the cache asks for and the memory
 * allows. Throws DBellError `out-of-memory`.
 */
export function measureMemoryBandwidth(threadCount: number, givenBytes?: number): MemoryBandwidth {
  const { lastLevelCacheBytes } = machineConditions();
  const wanted = Math.max(leastBufferBytes, timesTheCache * (lastLevelCacheBytes ?? 0));
  const bufferBytes =
    givenBytes ??
    Math.floor(Math.max(Math.min(wanted, mostBufferBytes, shareOfFreeMemory * os.freemem()), 16 * 2 ** 20));
  nativeThreads.setThreadCount(threadCount);
  let measured: ReturnType<typeof machine.measureMemoryRead>;
  try {
    measured = machine.measureMemoryRead(bufferBytes, passes);
  } catch (cause) {
    throw new DBellError(
      'out-of-memory',
      `there is no room for the ${bufferBytes} bytes that the memory's speed is measured with`,
      { cause },
    );
  }
  const words = BigInt(Math.floor(bufferBytes / 8));
  // What was added up is known: a read that was left out or done twice would show.
  if (measured.sum !== BigInt.asUintN(64, (words * (words - 1n)) / 2n))
    throw new DBellError('internal', 'the measurement of the memory read something else than it had written');
  return {
    bytesPerSecond: (Number(words) * 8) / measured.seconds,
    method: `sum of a buffer of 64-bit words, each thread its own parts in order, the shortest of ${passes} passes`,
    bufferBytes: Number(words) * 8,
    passes,
    threads: measured.threads,
    lastLevelCacheBytes,
  };
}

/**
 * The median of measurements that were made in turns with subjects. A machine that shares its memory with others reads it at one time half as fast as at another; what decoding
 * reached is then seen against what could be had meanwhile.
 */
export function medianBandwidth(measurements: readonly MemoryBandwidth[]): MemoryBandwidth {
  const [first] = measurements;
  if (first === undefined) throw new DBellError('internal', 'the memory was not measured');
  const speeds = measurements.map(({ bytesPerSecond }) => bytesPerSecond);
  return {
    ...first,
    bytesPerSecond: median(speeds),
    method: `${first.method}; the median of ${speeds.length} such measurements in turns with what is compared`,
    turnsBytesPerSecond: speeds,
  };
}
