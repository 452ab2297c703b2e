import { isRunning, lifeOf } from '../files/processes.ts';

/** Names this process so that it cannot be mistaken for a later one with the same number. */
export function thisProcess(): string {
  return identityOf(process.pid) ?? String(process.pid);
}

/** Whether the process that an identity names still runs on this machine. */
export function isAlive(identity: string): boolean {
  const pid = Number(identity.split(':')[0]);
  if (!Number.isInteger(pid) || pid <= 0 || !isRunning(pid)) return false;
  const current = identityOf(pid);
  return current === null || !identity.includes(':') || current === identity;
}

/** `pid:start time in clock ticks since boot:boot id` on Linux; null elsewhere. */
function identityOf(pid: number): string | null {
  const life = lifeOf(pid);
  return life && `${pid}:${life.startTicks}:${life.bootId}`;
}
