import { statSync } from 'node:fs';
import { DBellError } from '../../contract/errors.ts';
import { fileError, systemErrorCode } from '../../files/errors.ts';
import { isDamage, noRoomCodes, sqliteCode } from '../../history/errors.ts';

/** An error of SQLite or of the system over the queue's file as what a person can act upon, with the file's name; others pass unchanged. */
export function queueError(error: unknown, file: string, busyTimeoutMs: number): unknown {
  const code = sqliteCode(error);
  if (code === null) return systemErrorCode(error) === null ? error : fileError(error, 'use the queue', file);
  const as = (kind: 'disk-full' | 'disk-error' | 'internal', what: string) =>
    new DBellError(kind, `queue ${file} ${what}`, { cause: error });
  if (noRoomCodes.has(code))
    return as('disk-full', 'cannot be written: the disk is full; free some space and try again');
  if (code.startsWith('SQLITE_READONLY'))
    return as(
      'disk-error',
      'is read-only, or its folder is; make both writable, or choose another folder with DBELL_HOME',
    );
  if (code.startsWith('SQLITE_CANTOPEN'))
    return statSync(file, { throwIfNoEntry: false })?.isDirectory()
      ? as('disk-error', 'is a folder, not a file; move it away and try again')
      : as(
          'disk-error',
          'cannot be opened; make it and its folder readable and writable, or choose another folder with DBELL_HOME',
        );
  if (code.startsWith('SQLITE_BUSY') || code.startsWith('SQLITE_LOCKED'))
    return as(
      'disk-error',
      `is in use by another program that has been writing for more than ${busyTimeoutMs / 1000} s; close it or try again`,
    );
  if (code.startsWith('SQLITE_IOERR') || isDamage(error))
    return as('disk-error', `cannot be read or written (${code}); check the disk, or move the file away`);
  return as('internal', `cannot be used: ${(error as Error).message} (${code})`);
}
