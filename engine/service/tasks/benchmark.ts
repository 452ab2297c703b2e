import { closeSync, openSync, readSync } from 'node:fs';
import path from 'node:path';
import { DBellError } from '../../contract/errors.ts';
import { type BenchmarkControl, runBenchmark } from '../../measure/benchmark.ts';
import { modelFileName } from '../../package/layout.ts';
import type { TaskControl, TaskFunction } from './control.ts';
import { isPackage } from './package-detection.ts';
import { openSubject, type Subject } from './subject.ts';
import { threadCount } from './threads.ts';

const task = 'benchmark';
/** Large enough that calls cost nothing, small enough to stay in a cache. */
const readPieceBytes = 2 ** 20;

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

/** Milliseconds that reading a file once in order takes; null where it cannot be read, of which loading it will say why. */
function readThrough(file: string): number | null {
  const buffer = new Uint8Array(readPieceBytes);
  let descriptor: number | null = null;
  try {
    const startedAt = performance.now();
    descriptor = openSync(file, 'r');
    while (readSync(descriptor, buffer) > 0);
    return performance.now() - startedAt;
  } catch {
    return null;
  } finally {
    if (descriptor !== null) closeSync(descriptor);
  }
}

/** Measures one subject; its process is its own, so that its peak memory is too. */
export const benchmarkTask: TaskFunction<'benchmark'> = async (input, control) => {
  const startedAt = performance.now();
  const fileReadMs = isPackage(input.model) ? readThrough(path.join(input.model, modelFileName)) : null;
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
      ...(fileReadMs === null ? {} : { fileReadMs }),
      identity: await subject.identity(),
    };
  } finally {
    subject?.closeSource();
  }
};
