import { DBellError } from '../../contract/errors.ts';
import { openModel } from '../../model/open.ts';
import { inspectPackage } from '../../package/open.ts';
import { verifyPackage } from '../../package/verify.ts';
import { remainingMsOf, type TaskFunction } from './control.ts';

const task = 'verify';

/** Structure, hashes and, given the source model, the numbers of a package. What is wrong with it is the result, not an error. */
export const verifyTask: TaskFunction<'verify'> = async (input, control) => {
  const startedAt = performance.now();
  const against = input.against === undefined ? undefined : await openModel(input.against);
  try {
    const report = await verifyPackage(input.package, {
      against,
      onProgress: (fraction) => {
        if (control.stopRequested()) throw new DBellError('stopped', 'stopped');
        control.progress({
          task,
          stage: task,
          fraction,
          step: null,
          item: null,
          relativeError: null,
          remainingMs: remainingMsOf(performance.now() - startedAt, fraction),
        });
      },
    });
    return {
      ...report,
      package: input.package,
      against: input.against ?? null,
      ...identify(input.package, report.ok),
    };
  } finally {
    against?.close();
  }
};

/** What the package says of itself, where it can be read at all. Only one that is whole is known by its fingerprint; another by where it lies. */
function identify(folder: string, isWhole: boolean) {
  const { opened } = inspectPackage(folder, { checkValues: false });
  if (opened === null) return { recipe: null, activationBits: null, identity: null };
  try {
    const { quality, quantization, activationBits, storedBitsPerWeight } = opened;
    return {
      recipe: quantization.recipe.name,
      activationBits,
      identity: {
        sourceFingerprint: quality.sourceFingerprint,
        packageFingerprint: isWhole ? quality.configSha256 : null,
        storedBitsPerWeight,
      },
    };
  } finally {
    opened.close();
  }
}
