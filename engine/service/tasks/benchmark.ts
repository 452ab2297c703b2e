import { DBellError } from '../../contract/errors.ts';
import { runBenchmark } from '../../measure/benchmark.ts';
import type { TaskFunction } from './control.ts';
import { openSubject, type Subject } from './subject.ts';
import { threadCount } from './threads.ts';

const task = 'benchmark';

/** Measures one subject; its process is its own, so that its peak memory is too. */
export const benchmarkTask: TaskFunction<'benchmark'> = async (input, control) => {
  const startedAt = performance.now();
  let subject: Subject | undefined;
  try {
    const measured = await runBenchmark(
      async () => {
        subject = await openSubject(task, input.model, input, control);
        return subject.model;
      },
      // Known once it is open.
      0,
      { ...input, threads: threadCount(input.threads) },
      {
        border: () => control.border(),
        onProgress: ({ stage, step, stepCount }) => {
          const elapsed = performance.now() - startedAt;
          // Loading and warming up come before the measurements that are counted.
          const counted = stage !== 'load' && stage !== 'warm up';
          control.progress({
            task,
            stage,
            fraction: counted ? step / stepCount : null,
            step: counted ? { index: step, count: stepCount, unit: 'measurement' } : null,
            item: null,
            relativeError: null,
            remainingMs: counted && step > 0 ? (elapsed / step) * (stepCount - step) : null,
          });
        },
      },
    );
    // `runBenchmark` opened it.
    if (subject === undefined) throw new DBellError('internal', 'nothing was measured');
    return {
      ...measured,
      model: subject.path,
      recipe: subject.recipe,
      modelBytes: subject.modelBytes,
      identity: await subject.identity(),
    };
  } finally {
    subject?.closeSource();
  }
};
