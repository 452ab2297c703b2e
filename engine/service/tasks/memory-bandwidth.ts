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
  while (measured.length < input.turns) {
    await control.turn();
    measured.push(measureMemoryBandwidth(threads));
  }
  return medianBandwidth(measured);
};
