import { DBellError } from '../../contract/errors.ts';
import { formatBytes } from '../../contract/number-format.ts';
import { exportGguf } from '../../package/export-gguf.ts';
import { openPackage } from '../../package/open.ts';
import type { PackageSource } from '../../package/types.ts';
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
      weights: input.weights,
      stopRequested: () => control.stopRequested(),
      border: () => control.pauseBorder(),
      onProgress: (fraction) => {
        control.progress({
          task,
          stage: fraction < 0.5 ? 'check' : 'write file',
          fraction,
          step: null,
          item: null,
          relativeError: null,
          remainingMs: remainingMsOf(performance.now() - startedAt, fraction),
        });
      },
    });
    for (const message of growth(source, bytes))
      control.report({ type: 'message', level: 'warning', message });
    return {
      package: source.path,
      out: path,
      format: input.format,
      bytes,
      packageBytes: source.modelBytes,
      types,
      notes,
    };
  } finally {
    source.close();
  }
};

/** A person exports a small package and may get a file larger than the model that it was made from: said, with the sizes. */
function growth({ modelBytes, quality }: PackageSource, bytes: number): string[] {
  const notes: string[] = [];
  if (bytes > modelBytes)
    notes.push(
      `the file is larger than the package: ${formatBytes(bytes)} against ${formatBytes(modelBytes)} of its weight file (${(bytes / modelBytes).toFixed(2)} times); the format's types are wider than the package's, and it holds the tokenizer`,
    );
  const originalBytes = quality.total.parameters * bytesOfHalf;
  if (bytes > originalBytes)
    notes.push(
      `the file is larger than the original's weights at 16 bits: ${formatBytes(bytes)} against ${formatBytes(originalBytes)}`,
    );
  return notes;
}

/** Of a weight in the 16 bits that models are published in; a package does not know its original's file. */
const bytesOfHalf = 2;
