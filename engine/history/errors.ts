import { DBellError } from '../contract/errors.ts';
import { busyTimeoutMs } from './limits.ts';

/** `code` of an error that SQLite raised, such as SQLITE_BUSY, or null. */
export function sqliteCode(error: unknown): string | null {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return null;
  return error.code.startsWith('SQLITE_') ? error.code : null;
}

/** Whether SQLite found that a file is no database or a damaged one. */
export function isDamage(error: unknown): boolean {
  const code = sqliteCode(error);
  return code !== null && (code.startsWith('SQLITE_CORRUPT') || code === 'SQLITE_NOTADB');
}

/** A full volume, a quota or a file-size limit, in the database, its log or the log's index. */
export const noRoomCodes = new Set(['SQLITE_FULL', 'SQLITE_IOERR_WRITE', 'SQLITE_IOERR_SHMSIZE']);

/** An error of SQLite as what a person can act upon; others pass unchanged. */
export function historyError(error: unknown, file: string, waitedMs = busyTimeoutMs): unknown {
  const code = sqliteCode(error);
  if (code === null) return error;
  const options = { cause: error };
  if (code.startsWith('SQLITE_BUSY') || code.startsWith('SQLITE_LOCKED'))
    return new DBellError(
      'invalid-history',
      `history ${file} is in use by another program that has been writing for more than ${waitedMs / 1000} s; close it or try again`,
      options,
    );
  if (noRoomCodes.has(code))
    return new DBellError(
      'disk-full',
      `history ${file} cannot be written: the disk is full; free some space`,
      options,
    );
  if (code.startsWith('SQLITE_READONLY'))
    return new DBellError('invalid-history', `history ${file} is read-only; nothing was changed`, options);
  if (isDamage(error))
    return new DBellError(
      'invalid-history',
      `history ${file} is damaged (${code}); it stays where it is. Start again to set it aside and begin a new one`,
      options,
    );
  return new DBellError('invalid-history', `history ${file}: ${(error as Error).message} (${code})`, options);
}
