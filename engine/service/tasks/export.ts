import { DBellError } from '../../contract/errors.ts';
import { exportGguf } from '../../package/export-gguf.ts';
import { openPackage } from '../../package/open.ts';
import { hashProblems } from '../../package/verify.ts';
import { remainingMsOf, type TaskFunction } from './control.ts';

const task = 'export';

/** A package as a GGUF file. */
export const exportTask: TaskFunction<'export'> = async (input, control) => {
  const startedAt = performance.now();
  const source = await openPackage(input.package);
  try {
    // A GGUF carries no hash: what was damaged before could not be told from it any more.
    const [first] = (await hashProblems(source)).items;
    if (first) throw new DBellError('invalid-package', `${input.package}: ${first.message}`);
    const { path, bytes, types, notes } = await exportGguf(source, input.out, {
      rounding: input.rounding,
      stopRequested: () => control.stopRequested(),
      border: () => control.pauseBorder(),
      onProgress: (fraction) => {
        control.progress({
          task,
          stage: fraction < 0.5 ? 'check' : 'write',
          fraction,
          step: null,
          item: null,
          relativeError: null,
          remainingMs: remainingMsOf(performance.now() - startedAt, fraction),
        });
      },
    });
    return { package: source.path, out: path, format: input.format, bytes, types, notes };
  } finally {
    source.close();
  }
};
