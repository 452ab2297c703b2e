import path from 'node:path';
import { DBellError } from '../contract/errors.ts';

/** Ends the name of a download's work folder, which stands beside what it will become. */
export const workSuffix = '.download';

/** Ends the name of a file that is being fetched. */
export const partSuffix = '.part';

/** Names that Windows keeps for devices, whatever follows the dot. */
const deviceNames = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;

/**
 * Where a model goes: `FOLDER/OWNER/NAME`, a GGUF file into that folder by its path in the repository, where files of several folders may be called the
 * same. Another revision than `main`, and a second commit of `main`, have the first characters of their commit behind the name.
 *
 * @throws DBellError `invalid-input` for names that no folder can have everywhere
 */
export function targetOf(
  folder: string,
  request: { name: string; revision: string; file: string | null },
  commit: string,
  withCommit = request.revision !== 'main',
): string {
  const parts = request.name.split('/');
  const within = request.file?.split('/') ?? [];
  for (const part of [...parts, ...within]) {
    if (deviceNames.test(part) || /[. ]$/.test(part)) {
      throw new DBellError('invalid-input', `${JSON.stringify(part)} cannot be a name on every system`);
    }
    if (part.endsWith(workSuffix)) {
      throw new DBellError(
        'invalid-input',
        `${JSON.stringify(part)} cannot be fetched: names with ${workSuffix} behind them are those of unfinished downloads`,
      );
    }
  }
  const model = path.join(folder, ...parts) + (withCommit ? `@${commit.slice(0, 8)}` : '');
  return path.join(model, ...within);
}

export function workFolderOf(target: string): string {
  return target + workSuffix;
}
