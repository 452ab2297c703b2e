import type { MemoryBandwidth } from '../../contract/measurement.ts';
import { measureMemoryBandwidth, medianBandwidth } from '../../measure/memory-bandwidth.ts';
import type { TaskFunction } from './control.ts';
import { threadCount } from './threads.ts';

/** What bounds the decoding that is measured afterwards, or in turns with it. */
export const memoryBandwidthTask: TaskFunction<'memoryBandwidth'> = async (input, control) => {
  control.progress({
    task: 'benchmark',
    stage: 'measure the memory',
    ...{ fraction: null, step: null, item: null, relativeError: null, remainingMs: null },
  });
  const threads = threadCount(input.threads);
  if (input.turns === undefined) return measureMemoryBandwidth(threads);
  const measured: MemoryBandwidth[] = [];
  for (let turn = 0; turn < input.turns.warmUp; turn++) await control.turn();
  while (measured.length < input.turns.measured) {
    await control.turn();
    try {
      // One size for all: what is free changes with what the subjects do.
      measured.push(measureMemoryBandwidth(threads, measured[0]?.bufferBytes));
    } catch (error) {
      // What was measured before there was no more room still stands.
      if (measured.length === 0) throw error;
      break;
    }
  }
  return medianBandwidth(measured);
};
