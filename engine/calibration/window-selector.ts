import { mix32 } from '../model/seeded-random.ts';

/** Which windows of a text are taken: the first N, all, or N drawn without replacement with a seed. */
export type WindowChoice =
  | { kind: 'first'; count: number | 'all' }
  | { kind: 'seeded'; count: number; seed: number };

interface Kept {
  index: number;
  priority: number;
  ids: Int32Array;
}

/**
 * Cuts a stream of ids into windows and keeps those chosen, so that memory holds the chosen ones only. Seeded: each window gets a pseudo-random priority from (seed, index) and the
 * N lowest stay, which is a uniform draw without replacement in one pass; they are given back in order of the text.
 */
export class WindowSelector {
  readonly #context: number;
  readonly #choice: WindowChoice;
  readonly #window: Int32Array;
  #filled = 0;
  /** For a seeded choice a heap, highest priority at the root. */
  readonly #kept: Kept[] = [];
  windowsSeen = 0;
  tokensSeen = 0;

  constructor(context: number, choice: WindowChoice) {
    this.#context = context;
    this.#choice = choice;
    this.#window = new Int32Array(context);
  }

  push(ids: readonly number[]): void {
    this.tokensSeen += ids.length;
    for (const id of ids) {
      this.#window[this.#filled++] = id;
      if (this.#filled === this.#context) {
        this.#offer(this.windowsSeen++);
        this.#filled = 0;
      }
    }
  }

  /** The chosen windows one after another, `[count, context]`, in order of the text. */
  take(): { ids: Int32Array; windowCount: number } {
    const kept = this.#kept.sort((a, b) => a.index - b.index);
    const ids = new Int32Array(kept.length * this.#context);
    kept.forEach((window, position) => {
      ids.set(window.ids, position * this.#context);
    });
    return { ids, windowCount: kept.length };
  }

  #offer(index: number): void {
    const choice = this.#choice;
    if (choice.kind === 'first') {
      if (choice.count === 'all' || index < choice.count)
        this.#kept.push({ index, priority: 0, ids: this.#window.slice() });
      return;
    }
    const priority = windowPriority(choice.seed, index);
    if (this.#kept.length < choice.count) {
      this.#kept.push({ index, priority, ids: this.#window.slice() });
      this.#siftUp(this.#kept.length - 1);
      return;
    }
    const root = this.#kept[0] as Kept;
    if (priority >= root.priority) return;
    root.ids.set(this.#window);
    root.index = index;
    root.priority = priority;
    this.#siftDown();
  }

  #siftUp(start: number): void {
    const heap = this.#kept;
    for (let slot = start; slot > 0; ) {
      const parent = (slot - 1) >> 1;
      if ((heap[parent] as Kept).priority >= (heap[slot] as Kept).priority) return;
      this.#swap(parent, slot);
      slot = parent;
    }
  }

  #siftDown(): void {
    const heap = this.#kept;
    for (let slot = 0; ; ) {
      let largest = slot;
      for (const child of [2 * slot + 1, 2 * slot + 2]) {
        if (child < heap.length && (heap[child] as Kept).priority > (heap[largest] as Kept).priority)
          largest = child;
      }
      if (largest === slot) return;
      this.#swap(largest, slot);
      slot = largest;
    }
  }

  #swap(a: number, b: number): void {
    const held = this.#kept[a] as Kept;
    this.#kept[a] = this.#kept[b] as Kept;
    this.#kept[b] = held;
  }
}

/** Pseudo-random number of a window, 53 bits, the same on every machine. */
export function windowPriority(seed: number, index: number): number {
  const low = mix32(mix32(seed >>> 0) ^ mix32(index + 0x9e3779b9));
  const high = mix32(low ^ Math.floor(seed / 2 ** 32) ^ Math.imul(index + 1, 0x9e3779b9));
  return (high >>> 5) * 2 ** 26 + (low >>> 6);
}
