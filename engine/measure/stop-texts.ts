/**
 * Looks for stop texts in streamed text, also across pieces. Text that could be the beginning of one is held back until it turns out harmless.
 */
export class StopTextFilter {
  readonly #stops: readonly string[];
  #held = '';

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== '');
  }

  /** Text that may be shown, and whether a stop text was found (it and what follows are left out). */
  push(piece: string): { text: string; isStopped: boolean } {
    const text = this.#held + piece;
    let end = -1;
    for (const stop of this.#stops) {
      const at = text.indexOf(stop);
      if (at !== -1 && (end === -1 || at < end)) end = at;
    }
    if (end !== -1) {
      this.#held = '';
      return { text: text.slice(0, end), isStopped: true };
    }
    const keep = text.length - this.#heldLength(text);
    this.#held = text.slice(keep);
    return { text: text.slice(0, keep), isStopped: false };
  }

  /** What was held back, harmless after all. */
  flush(): string {
    const text = this.#held;
    this.#held = '';
    return text;
  }

  /** Length of the longest end of `text` that begins a stop text. */
  #heldLength(text: string): number {
    let longest = 0;
    for (const stop of this.#stops) {
      for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
        if (text.endsWith(stop.slice(0, length))) {
          longest = length;
          break;
        }
      }
    }
    return longest;
  }
}
