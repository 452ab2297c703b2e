import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { DBellError } from '../contract/errors.ts';
import { fileError, systemErrorCode } from './errors.ts';
import { isRunning, lifeOf } from './processes.ts';

/** Two processes may find the same stale lock; the one whose lock file stands after this time owns it. */
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
    try {
      // A hard link fails where the name exists, so exactly one process gets a free lock, with its content complete.
      createExclusively(candidate, lockPath);
    } catch (cause) {
      if (systemErrorCode(cause) !== 'EEXIST') throw cause;
      refuseWhereHeld(lockPath, advice);
      renameSync(candidate, lockPath);
      await sleep(settleMs);
      if (readOwner(lockPath)?.token !== token) refuseWhereHeld(lockPath, advice);
    }
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

/** File systems without hard links (exFAT, some network drives) get a plain exclusive creation. */
function createExclusively(candidate: string, lockPath: string): void {
  try {
    linkSync(candidate, lockPath);
  } catch (cause) {
    if (!['EPERM', 'ENOTSUP', 'ENOSYS', 'EOPNOTSUPP'].includes(systemErrorCode(cause) ?? '')) throw cause;
    writeFileSync(lockPath, readFileSync(candidate), { flag: 'wx' });
  }
}

function refuseWhereHeld(lockPath: string, advice: string): void {
  const owner = readOwner(lockPath);
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

/** Null where there is no lock or a killed run left an unreadable one. */
function readOwner(lockPath: string): Owner | null {
  try {
    return ownerSchema.parse(JSON.parse(readFileSync(lockPath, 'utf8')));
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
