import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { DBellError } from '../contract/errors.ts';

/**
 * File operations that leave either the old or the new content behind, whenever the process or the machine dies: write a temporary sibling, fsync,
 * rename, fsync the folder.
 */

/** Translates a file system error; `what` names the file and its purpose. */
export function fileError(what: string, cause: unknown): DBellError {
  const code = errorCode(cause);
  const detail = cause instanceof Error ? cause.message : String(cause);
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG') {
    const why = code === 'EFBIG' ? 'a file size limit was reached' : 'the disk is full';
    return new DBellError('disk-full', `${what}: ${why}; make room and resume`, { cause });
  }
  if (code === 'EROFS' || code === 'EACCES' || code === 'EPERM') {
    return new DBellError(
      'disk-error',
      `${what}: no permission to write (${detail}); choose another folder or change its permissions`,
      {
        cause,
      },
    );
  }
  return new DBellError('disk-error', `${what}: ${detail}`, { cause });
}

export function errorCode(cause: unknown): string {
  return typeof cause === 'object' && cause !== null && 'code' in cause ? String(cause.code) : '';
}

/** Makes a folder's entries (created, renamed and removed names) durable. Windows cannot open folders; NTFS journals names itself. */
export function syncFolder(folder: string): void {
  if (process.platform === 'win32') return;
  const descriptor = openSync(folder, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Creates a folder and makes its name durable. */
export function makeFolder(folder: string, what: string): void {
  try {
    if (existsSync(folder)) return;
    mkdirSync(folder, { recursive: true });
    syncFolder(path.dirname(folder));
  } catch (cause) {
    throw fileError(`${what} ${folder}`, cause);
  }
}

/** Writes all of `bytes` at `position`, however many calls the system needs. */
export function writeFully(descriptor: number, bytes: Uint8Array, position: number): void {
  let done = 0;
  while (done < bytes.byteLength) {
    done += writeSync(descriptor, bytes, done, bytes.byteLength - done, position + done);
  }
}

/** Fills `bytes` from `position`; false where the file ends before. */
export function readFully(descriptor: number, bytes: Uint8Array, position: number): boolean {
  let done = 0;
  while (done < bytes.byteLength) {
    const count = readSync(descriptor, bytes, done, bytes.byteLength - done, position + done);
    if (count === 0) return false;
    done += count;
  }
  return true;
}

/** Replaces a file's content atomically and durably. The temporary name is fixed, so that a killed run leaves at most one behind. */
export function replaceFile(target: string, content: string, what: string): void {
  const temporary = `${target}.tmp`;
  try {
    const descriptor = openSync(temporary, 'w');
    try {
      writeFully(descriptor, Buffer.from(content, 'utf8'), 0);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(temporary, target);
    syncFolder(path.dirname(target));
  } catch (cause) {
    throw fileError(`${what} ${target}`, cause);
  }
}
