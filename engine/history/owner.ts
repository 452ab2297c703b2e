import { readFileSync } from 'node:fs';

/** Names this process so that it cannot be mistaken for a later one with the same number. */
export function thisProcess(): string {
  return identityOf(process.pid) ?? String(process.pid);
}

/** Whether the process that an identity names still runs on this machine. */
export function isAlive(identity: string): boolean {
  const pid = Number(identity.split(':')[0]);
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: it runs, under another user.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  const current = identityOf(pid);
  return current === null || !identity.includes(':') || current === identity;
}

/** `pid:start time in clock ticks since boot:boot id` on Linux; null elsewhere. */
function identityOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the program's name in brackets and may hold blanks; the start time is the 22nd.
    const started = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return `${pid}:${started}:${boot}`;
  } catch {
    return null;
  }
}
