import { readFileSync } from 'node:fs';
import { systemErrorCode } from './errors.ts';

/** Which life of a process id: ids are used again; the start time since boot and the boot's id tell lives apart. */
export interface ProcessLife {
  startTicks: string;
  bootId: string;
}

/** The life that a process id has now; null where it has none, or the system does not tell (only Linux does). */
export function lifeOf(pid: number): ProcessLife | null {
  const stat = statOf(pid);
  if (stat === null) return null;
  try {
    const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return { startTicks: stat.startTicks, bootId };
  } catch {
    return null;
  }
}

/**
 * Whether a process with this id runs on this machine. One that has ended and that its parent has not asked after (a zombie) does not run, though it still has its
 * id: where a container's first process asks after nobody, it keeps it for ever.
 */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (cause) {
    // EPERM: it runs, under another user.
    if (systemErrorCode(cause) !== 'EPERM') return false;
  }
  const state = statOf(pid)?.state;
  return state !== 'Z' && state !== 'X';
}

function statOf(pid: number): { state: string; startTicks: string } | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // Fields after the command name, which may hold blanks and brackets: state is the first, start time the twentieth (proc(5)).
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0] ?? '', startTicks: fields[19] ?? '' };
  } catch {
    return null;
  }
}
