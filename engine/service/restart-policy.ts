import { serviceLimits } from './limits.ts';

/** When a process that died is started again: at once, then after growing waits, and not at all where it keeps dying. */
export class RestartPolicy {
  #deaths: number[] = [];
  readonly #now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Milliseconds to wait before the next start; null = give up. */
  next(): number | null {
    const now = this.#now();
    this.#deaths = [...this.#deaths.filter((time) => now - time < serviceLimits.restartWindowMs), now];
    const count = this.#deaths.length;
    if (count > serviceLimits.restarts) return null;
    return count === 1 ? 0 : serviceLimits.restartWaitMs * 2 ** (count - 2);
  }
}
