import { measureMemoryBandwidth } from '../../measure/memory-bandwidth.ts';
import type { TaskFunction } from './control.ts';
import { threadCount } from './threads.ts';

/** What bounds the decoding that is measured afterwards. */
export const memoryBandwidthTask: TaskFunction<'memoryBandwidth'> = async (input, control) => {
  control.progress({
    task: 'benchmark',
    stage: 'measure the memory',
    ...{ fraction: null, step: null, item: null, relativeError: null, remainingMs: null },
  });
  return measureMemoryBandwidth(threadCount(input.threads));
};
