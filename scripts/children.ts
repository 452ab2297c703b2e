import type { ChildProcess } from 'node:child_process';
import { onLauncherGone } from '../engine/files/launcher.ts';

/** A process that ends by a signal says so by this and the signal's number. */
const signalled = 128;
const numbers = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1 } as const;

const children = new Set<ChildProcess>();
let isWatching = false;

/** A script that is told to end takes its commands with it; they stop where their work can be resumed. */
export function endsWithUs<C extends ChildProcess>(child: C): C {
  watch();
  children.add(child);
  child.on('exit', () => children.delete(child));
  return child;
}

function watch(): void {
  if (isWatching) return;
  isWatching = true;
  const end = (signal: keyof typeof numbers) => {
    const leave = () => process.exit(signalled + numbers[signal]);
    if (children.size === 0) leave();
    let left = children.size;
    for (const child of children) {
      child.once('exit', () => {
        left--;
        if (left === 0) leave();
      });
      child.kill('SIGTERM');
    }
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => end(signal));
  onLauncherGone(() => end('SIGTERM'));
}
