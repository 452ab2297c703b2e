import { existsSync, lstatSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { DBellError } from '../contract/errors.ts';
import { isWithin } from '../files/folders.ts';
import { checkCreatable } from '../files/writable.ts';
import { retiredSuffix, workDirectorySuffix } from './work-folder.ts';

/** Longest file name of the common file systems. */
const maximumNameBytes = 255;

/** Real path of the nearest folder that exists, with the rest appended. */
function resolveThroughLinks(target: string): string {
  const absolute = path.resolve(target);
  if (existsSync(absolute)) return realpathSync(absolute);
  const parent = path.dirname(absolute);
  return parent === absolute ? absolute : path.join(resolveThroughLinks(parent), path.basename(absolute));
}

/**
 * Whether a package can appear at `outputDirectory`: beside the model, under a name that leaves room for the work folder's, where nothing is yet and files can
 * be made.
 *
 * @param modelPath may lead through links
 * @throws DBellError `invalid-input`, `output-exists`, `disk-error`
 */
export function checkOutput(modelPath: string, outputDirectory: string, packageMayExist = false): void {
  checkCreatable(outputDirectory);
  const output = resolveThroughLinks(outputDirectory);
  const model = resolveThroughLinks(modelPath);
  if (isWithin(output, model)) {
    throw new DBellError(
      'invalid-input',
      `output ${output} lies inside the model ${model}, which is never written to; choose another folder`,
    );
  }
  const nameBytes = Buffer.byteLength(path.basename(output));
  const suffixBytes = workDirectorySuffix.length + retiredSuffix.length;
  if (nameBytes + suffixBytes > maximumNameBytes) {
    throw new DBellError(
      'invalid-input',
      `the name of output ${output} has ${nameBytes} bytes; at most ${maximumNameBytes - suffixBytes} leave room for the names of the work folder; choose a shorter name`,
    );
  }
  // lstat, so that a link that leads nowhere counts: the package could not take its name.
  if (lstatSync(path.resolve(outputDirectory), { throwIfNoEntry: false }) && !packageMayExist) {
    throw new DBellError(
      'output-exists',
      `output ${output} exists already; choose another folder or remove it`,
    );
  }
}
