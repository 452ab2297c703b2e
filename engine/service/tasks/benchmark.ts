import { DBellError } from '../../contract/errors.ts';
import { type BenchmarkControl, runBenchmark } from '../../measure/benchmark.ts';
import type { TaskControl, TaskFunction } from './control.ts';
import { openSubject, type Subject } from './subject.ts';
import { threadCount } from './threads.ts';

const task = 'benchmark';

/** How a benchmark reports and when it goes on. */
export function benchmarkControl(
  control: TaskControl,
  takesTurns: boolean,
  startedAt: number,
  item: string | null = null,
): BenchmarkControl {
  return {
    border: () => (takesTurns ? control.turn() : control.border()),
    warmEach: takesTurns,
    onProgress: ({ stage, step, stepCount }) => {
      const elapsed = performance.now() - startedAt;
      // Loading and warming up come before the measurements that are counted.
      const counted = stage !== 'load' && stage !== 'warm up';
      control.progress({
        task,
        stage,
        fraction: counted ? step / stepCount : null,
        step: counted ? { index: step, count: stepCount, unit: 'measurement' } : null,
        item,
        relativeError: null,
        remainingMs: counted && step > 0 ? (elapsed / step) * (stepCount - step) : null,
      });
    },
  };
}

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
      benchmarkControl(control, input.takesTurns === true, startedAt),
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
