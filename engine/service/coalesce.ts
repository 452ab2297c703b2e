/**
 * Passes on at most `burst` values an interval, the first ones at once. Values beyond are merged (by default the newest replaces the older), and the last one
 * is never lost: `flush` passes it on at once.
 *
 * What is held back waits for a timer, which work that blocks its thread starves: who emits a few values and then blocks wants a burst that holds them.
 */
export interface Coalescer<T> {
  push(value: T): void;
  flush(): void;
  /** Drops what is held back. */
  cancel(): void;
}

export function coalesce<T>(
  intervalMs: number,
  deliver: (value: T) => void,
  merge: (held: T, next: T) => T = (_, next) => next,
  burst = 1,
): Coalescer<T> {
  let held: { value: T } | null = null;
  let timer: NodeJS.Timeout | null = null;
  /** Begins with a delivery. */
  let intervalStart = Number.NEGATIVE_INFINITY;
  let delivered = 0;
  const flush = () => {
    if (timer) clearTimeout(timer);
    timer = null;
    if (!held) return;
    const { value } = held;
    held = null;
    const now = performance.now();
    // What is passed on beyond the burst was due, though a timer may fire a fraction of a millisecond early.
    if (delivered >= burst || now >= intervalStart + intervalMs) {
      intervalStart = now;
      delivered = 0;
    }
    delivered++;
    deliver(value);
  };
  return {
    push(value) {
      held = { value: held ? merge(held.value, value) : value };
      const wait = delivered < burst ? 0 : intervalStart + intervalMs - performance.now();
      // Work that blocks its thread starves timers, so that what is due is delivered here.
      if (wait <= 0) flush();
      else if (!timer) {
        timer = setTimeout(flush, wait);
        timer.unref();
      }
    },
    flush,
    cancel() {
      if (timer) clearTimeout(timer);
      timer = null;
      held = null;
    },
  };
}
