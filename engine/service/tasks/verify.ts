import { DBellError } from '../../contract/errors.ts';
import { openModel } from '../../model/open.ts';
import { verifyPackage } from '../../package/verify.ts';
import type { TaskFunction } from './control.ts';

const task = 'verify';

/** Small files come first and take longest for their bytes: before this share of the work nothing can be said about the rest. */
const leastFractionForEstimate = 0.05;

/** Structure, hashes and, given the source model, the numbers of a package. What is wrong with it is the result, not an error. */
export const verifyTask: TaskFunction<'verify'> = async (input, control) => {
  const startedAt = performance.now();
  const against = input.against === undefined ? undefined : await openModel(input.against);
  try {
    const report = await verifyPackage(input.package, {
      against,
      onProgress: (fraction) => {
        if (control.stopRequested()) throw new DBellError('stopped', 'stopped');
        const elapsed = performance.now() - startedAt;
        control.progress({
          task,
          stage: task,
          fraction,
          step: null,
          item: null,
          relativeError: null,
          remainingMs: fraction >= leastFractionForEstimate ? (elapsed / fraction) * (1 - fraction) : null,
        });
      },
    });
    return { ...report, package: input.package, against: input.against ?? null };
  } finally {
    against?.close();
  }
};
