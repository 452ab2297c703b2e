import { DBellError } from '../../contract/errors.ts';
import { openModel } from '../../model/open.ts';
import { type VerifyReport, verifyPackage } from '../../package/verify.ts';
import { remainingMsOf, type TaskFunction } from './control.ts';

const task = 'verify';

/** Structure, hashes and, given the source model, the numbers of a package. What is wrong with it is the result, not an error. */
export const verifyTask: TaskFunction<'verify'> = async (input, control) => {
  const startedAt = performance.now();
  const against = input.against === undefined ? undefined : await openModel(input.against);
  try {
    const { stated, ...report } = await verifyPackage(input.package, {
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
      ...identify(stated, report.ok),
    };
  } finally {
    against?.close();
  }
};

/** What the package says of itself, where it can be read at all. Only one that is whole is known by its fingerprint; another by where it lies. */
function identify(stated: VerifyReport['stated'], isWhole: boolean) {
  if (stated === null) return { recipe: null, activationBits: null, identity: null };
  const { recipe, activationBits, sourceFingerprint, storedBitsPerWeight, configSha256 } = stated;
  return {
    recipe,
    activationBits,
    identity: { sourceFingerprint, packageFingerprint: isWhole ? configSha256 : null, storedBitsPerWeight },
  };
}
