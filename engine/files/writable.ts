import { accessSync, constants, mkdtempSync, rmdirSync, statfsSync, statSync } from 'node:fs';
import path from 'node:path';
import { DBellError } from '../contract/errors.ts';
import { fileError, systemErrorCode } from './errors.ts';
import { nearestExistingFolder } from './free-space.ts';

/**
 * Whether `target`, which does not exist yet, can be made: what exists above it is a folder in which files can be made. Of file systems that say they have no
 * room at all (those of the kernel, such as /proc, say so, and some others that have room) that is only known by trying; the empty folder made for it is removed at once.
 *
 * @throws DBellError `invalid-input` where a part of the path is a file, `disk-error` where nothing can be made
 */
export function checkCreatable(target: string): void {
  const folder = nearestExistingFolder(path.dirname(path.resolve(target)));
  const name = path.basename(target);
  if (!statSync(folder).isDirectory())
    throw new DBellError(
      'invalid-input',
      `${folder} is a file, so that ${target} cannot be made below it; choose another place`,
    );
  try {
    accessSync(folder, constants.W_OK);
  } catch (cause) {
    throw fileError(cause, `create ${name}`, folder);
  }
  if (hasRoomOrIsUnknown(folder)) return;
  try {
    rmdirSync(mkdtempSync(path.join(folder, '.dbell-')));
  } catch (cause) {
    throw new DBellError(
      'disk-error',
      `${folder}: could not create ${name}: this file system keeps no files of yours (${systemErrorCode(cause)}); choose a folder on a disk`,
      { cause },
    );
  }
}

function hasRoomOrIsUnknown(folder: string): boolean {
  try {
    return statfsSync(folder).blocks > 0;
  } catch {
    return true;
  }
}
