/**
 * Passes on at most one value an interval. Values that arrive in between are merged (by default the newest replaces the older), and the last one
 * is never lost: `flush` passes it on at once.
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
): Coalescer<T> {
  let held: { value: T } | null = null;
  let timer: NodeJS.Timeout | null = null;
  let lastDelivery = Number.NEGATIVE_INFINITY;
  const flush = () => {
    if (timer) clearTimeout(timer);
    timer = null;
    if (!held) return;
    const { value } = held;
    held = null;
    lastDelivery = performance.now();
    deliver(value);
  };
  return {
    push(value) {
      held = { value: held ? merge(held.value, value) : value };
      const wait = lastDelivery + intervalMs - performance.now();
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
