import { createHash } from 'node:crypto';
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { DBellError } from '../contract/errors.ts';
import { fileError, systemErrorCode } from './errors.ts';
import { isRunning, lifeOf } from './processes.ts';

/** A lock that cannot be read may be one that is being written, where a file system has no hard links; after this time it is what a killed run left. */
const settleMs = 200;

export const lockFileName = 'lock';

const ownerSchema = z.object({
  pid: z.int().positive(),
  host: z.string(),
  /** Which life of that process id: start time and boot id where the system tells them, else empty. */
  incarnation: z.string(),
  token: z.string(),
});
type Owner = z.infer<typeof ownerSchema>;

/** A folder's lock; whoever holds it may write there. */
export interface FolderLock {
  release(): void;
}

/**
 * Takes the lock of a work folder: a file created exclusively that names its process. A lock whose process is gone (a killed run) is taken over.
 *
 * @param advice what to do where another process holds it
 * @throws DBellError `output-exists` where another process, or another job of this one, holds it
 */
export async function lockFolder(
  folder: string,
  advice = 'wait for it, stop it, or choose another output',
): Promise<FolderLock> {
  const lockPath = path.join(folder, lockFileName);
  const token = `${process.pid}-${Math.random().toString(36).slice(2)}`;
  const mine: Owner = { pid: process.pid, host: hostname(), incarnation: incarnationOf(process.pid), token };
  const candidate = `${lockPath}.${token}`;
  try {
    writeFileSync(candidate, JSON.stringify(mine));
    await take(lockPath, candidate, advice);
  } catch (cause) {
    throw fileError(cause, 'take the lock', lockPath);
  } finally {
    rmSync(candidate, { force: true });
  }
  return {
    release() {
      if (readOwner(lockPath)?.token === token) rmSync(lockPath, { force: true });
    },
  };
}

/**
 * Gives the candidate the lock's name. A stale lock is replaced only by who holds the lock on replacing that very one, taken in the same way, and only if it still stands then: however
 * long a process is held up between looking and replacing, it never replaces another one.
 */
async function take(lockPath: string, candidate: string, advice: string): Promise<void> {
  // A hard link fails where the name exists, so exactly one process gets a free lock, with its content complete.
  while (!createExclusively(candidate, lockPath)) {
    let stale = read(lockPath);
    if (stale !== null && ownerOf(stale) === null) {
      await sleep(settleMs);
      stale = read(lockPath);
    }
    // Released in this moment.
    if (stale === null) continue;
    refuseWhereHeld(lockPath, ownerOf(stale), advice);
    const guard = `${lockPath}.${createHash('sha256').update(stale).digest('hex').slice(0, 16)}`;
    await take(guard, candidate, advice);
    try {
      if (read(lockPath) !== stale) continue;
      // Not the candidate itself: it is the guard, and a rename between two names of one file does nothing.
      const content = `${candidate}.content`;
      writeFileSync(content, readFileSync(candidate));
      renameSync(content, lockPath);
      return;
    } finally {
      rmSync(guard, { force: true });
    }
  }
}

/** Whether the name was free. File systems without hard links (exFAT, some network drives) get a plain exclusive creation. */
function createExclusively(candidate: string, lockPath: string): boolean {
  try {
    try {
      linkSync(candidate, lockPath);
    } catch (cause) {
      if (!['EPERM', 'ENOTSUP', 'ENOSYS', 'EOPNOTSUPP'].includes(systemErrorCode(cause) ?? '')) throw cause;
      const content = readFileSync(candidate, 'utf8');
      writeFileSync(lockPath, content, { flag: 'wx' });
      // Held up while it was empty, it may have been replaced as a stale one.
      return read(lockPath) === content;
    }
    return true;
  } catch (cause) {
    if (systemErrorCode(cause) === 'EEXIST') return false;
    throw cause;
  }
}

/** Whether a process that runs holds the folder's lock, or one of another machine, of which that cannot be told. */
export function isFolderLocked(folder: string): boolean {
  const owner = readOwner(path.join(folder, lockFileName));
  return owner !== null && (owner.host !== hostname() || isAlive(owner));
}

function refuseWhereHeld(lockPath: string, owner: Owner | null, advice: string): void {
  if (!owner) return;
  if (owner.host !== hostname()) {
    throw new DBellError(
      'output-exists',
      `${path.dirname(lockPath)} is locked by process ${owner.pid} on ${owner.host}; if that process is gone, delete ${lockPath}`,
    );
  }
  if (isAlive(owner)) {
    const who = owner.pid === process.pid ? 'another job of this process' : `process ${owner.pid}`;
    throw new DBellError('output-exists', `${path.dirname(lockPath)} is being written by ${who}; ${advice}`);
  }
}

/** Null where there is none. */
function read(lockPath: string): string | null {
  try {
    return readFileSync(lockPath, 'utf8');
  } catch (cause) {
    if (systemErrorCode(cause) === 'ENOENT') return null;
    throw cause;
  }
}

/** Null for what a killed run left unreadable. */
function ownerOf(lock: string): Owner | null {
  try {
    return ownerSchema.parse(JSON.parse(lock));
  } catch {
    return null;
  }
}

function readOwner(lockPath: string): Owner | null {
  try {
    return ownerOf(read(lockPath) ?? '');
  } catch {
    return null;
  }
}

function isAlive(owner: Owner): boolean {
  if (!isRunning(owner.pid)) return false;
  const now = incarnationOf(owner.pid);
  return owner.incarnation === '' || now === '' || now === owner.incarnation;
}

/** Tells lives of a process id apart; empty where the system does not tell. */
function incarnationOf(pid: number): string {
  const life = lifeOf(pid);
  return life ? `${life.bootId}/${life.startTicks}` : '';
}
