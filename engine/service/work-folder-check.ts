import { existsSync, lstatSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { DBellError } from '../contract/errors.ts';
import { partialSuffix, runFileName } from './run-file.ts';

/**
 * The work folder is removed in the end, with all that it holds: it must be one of ours, not a folder of the same name that somebody else made.
 */
export function checkWorkFolder(out: string, workFolder: string): void {
  if (out.endsWith(partialSuffix)) {
    throw new DBellError(
      'invalid-input',
      `output ${out} ends in ${partialSuffix}, which marks unfinished work; choose another name`,
    );
  }
  const entry = lstatSync(workFolder, { throwIfNoEntry: false });
  if (entry === undefined) return;
  const problem = entry.isSymbolicLink()
    ? 'is a link'
    : !entry.isDirectory()
      ? 'is a file'
      : !existsSync(path.join(workFolder, runFileName)) &&
          readdirSync(workFolder).some((name) => !name.startsWith(runFileName))
        ? 'holds files but no unfinished run'
        : null;
  if (problem === null) return;
  throw new DBellError(
    'output-exists',
    `${workFolder} ${problem}, so that the work folder of ${out} cannot be made; move it away or choose another output`,
  );
}
