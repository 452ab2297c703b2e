import { planLengths } from '../../measure/benchmark.ts';
import type { TaskFunction } from './control.ts';
import { checkSubject } from './subject.ts';

/** Whether every subject of a benchmark can be measured as asked, before the first one is: hours may lie between them. */
export const checkBenchmarkTask: TaskFunction<'checkBenchmark'> = async ({ subjects }) => {
  for (const settings of subjects)
    planLengths(await checkSubject(settings.model, settings.device, settings.keyValueCache), settings);
  return {};
};
