import { DBellError } from '../contract/errors.ts';

/** Codes with which operating systems say "no room": full volume, quota, the process's own file-size limit. */
const noRoomCodes = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);
const readOnlyCodes = new Set(['EROFS', 'EACCES', 'EPERM']);

/** What is wrong with a path itself. */
const pathProblems: Readonly<Record<string, string>> = {
  EEXIST: 'something of that name, but of another kind, stands there; choose another path',
  ENOTDIR: 'a part of the path is a file, not a folder; choose another path',
  EISDIR: 'it is a folder, not a file; choose another path',
  ENAMETOOLONG: 'the name is too long; choose a shorter one',
  ELOOP: 'links in the path lead in a circle; choose another path',
};

export function systemErrorCode(cause: unknown): string | null {
  if (typeof cause !== 'object' || cause === null || !('code' in cause)) return null;
  return typeof cause.code === 'string' ? cause.code : null;
}

/**
 * What a failed file operation is to a person. `action` completes "could not …", e.g. `write`. An error that is a DBellError already passes
 * unchanged.
 */
export function fileError(cause: unknown, action: string, path: string): DBellError {
  if (cause instanceof DBellError) return cause;
  const code = systemErrorCode(cause);
  if (code !== null && noRoomCodes.has(code)) {
    const reason =
      code === 'EFBIG' ? 'the file would pass the size limit of this process or volume' : 'disk full';
    return new DBellError(
      'disk-full',
      `${path}: could not ${action}: ${reason} (${code}); free some space or choose another volume, then run again`,
      { cause },
    );
  }
  if (code !== null && readOnlyCodes.has(code)) {
    return new DBellError(
      'disk-error',
      `${path}: could not ${action}: no permission or read-only (${code}); choose a folder that you may write to`,
      { cause },
    );
  }
  if (code === 'ENOENT') {
    const reason = action.startsWith('create')
      ? 'the folder above it does not exist, or its file system keeps no files of yours (ENOENT)'
      : 'it does not exist';
    return new DBellError('not-found', `${path}: could not ${action}: ${reason}`, { cause });
  }
  const known = code === null ? undefined : pathProblems[code];
  if (known !== undefined)
    return new DBellError('disk-error', `${path}: could not ${action}: ${known} (${code})`, { cause });
  const detail = cause instanceof Error ? cause.message : String(cause);
  return new DBellError('disk-error', `${path}: could not ${action}: ${detail}`, { cause });
}
