/** Bounds of a chat template, which comes with a model and is hostile until proven otherwise; each with its reason. */
export const chatTemplateLimits = {
  /** The longest published templates (with tool use) have some 30 kB. */
  maxTemplateLength: 1024 * 1024,
  /** UTF-16 units that a template may add to the messages' own text. */
  maxAddedLength: 4 * 1024 * 1024,
  /** Rendering takes milliseconds; a loop that takes this long does not end. */
  timeoutMs: 5000,
  /** Numbers of one `range`; templates count messages with it. */
  maxRangeLength: 1_000_000,
  /** Heap of the thread that renders, looked at every `heapCheckMs`: what a template piles up must fail there and not here. */
  heapMb: 256,
  heapCheckMs: 20,
  /**
   * V8's own limit for that thread. V8 ends the whole process where memory runs out between two of its collections, so this limit is only the last resort.
   */
  heapLastResortMb: 2048,
} as const;
