/** Weight of a block against those before it: a machine that becomes busy, or free again, shows in the estimate within two or three blocks and never at once. */
const newestWeight = 0.4;

/** Nothing is known better than this: writing and the block's own weights differ from block to block. */
const leastSpread = 0.05;

/** Of the first block, before there is another one to compare it with; it shrinks with every block. */
const firstSpread = 0.3;

export interface RemainingTime {
  expectedMs: number;
  lowMs: number;
  highMs: number;
}

/**
 * Time that work still takes, from blocks of work that are alike: milliseconds an operation, weighted exponentially over the blocks, and how much the blocks differ
 * in it. The block in work counts as far as it is done.
 */
export class Pace {
  /** Of the blocks that are done; null before the first. */
  private mean: number | null = null;
  /** Mean absolute deviation from the mean that was expected, weighted like it. */
  private deviation = 0;
  private blocks = 0;
  private blockOperations = 0;
  private blockMs = 0;
  private readonly leastOperations: number;
  private readonly usualOperations: number;

  /**
   * @param usualOperations of a block
   * @param leastShare of a block that is to be done before it says anything
   */
  constructor(usualOperations: number, leastShare: number) {
    this.usualOperations = Math.max(1, usualOperations);
    this.leastOperations = leastShare * this.usualOperations;
  }

  /** Work was done in `elapsedMs` since the last call. */
  advance(operations: number, elapsedMs: number): void {
    this.blockOperations += operations;
    this.blockMs += elapsedMs;
  }

  /** What comes now belongs to the next block. */
  endBlock(): void {
    if (this.blockOperations > 0) {
      const here = this.blockMs / this.blockOperations;
      const expected = this.mean ?? here;
      this.deviation += newestWeight * (Math.abs(here - expected) - this.deviation);
      this.mean = expected + newestWeight * (here - expected);
      this.blocks++;
    }
    this.blockOperations = 0;
    this.blockMs = 0;
  }

  /** Null while too little is done to tell. */
  remaining(operations: number): RemainingTime | null {
    const { mean, blockOperations } = this;
    const here = blockOperations > 0 ? this.blockMs / blockOperations : null;
    if (mean === null && (here === null || blockOperations < this.leastOperations)) return null;
    const share = Math.min(1, blockOperations / this.usualOperations);
    const pace = mean === null ? here! : mean + newestWeight * share * ((here ?? mean) - mean);
    const spread = Math.min(
      0.9,
      Math.max(leastSpread, this.deviation / pace || 0, firstSpread / (1 + this.blocks)),
    );
    const expectedMs = pace * operations;
    return { expectedMs, lowMs: (1 - spread) * expectedMs, highMs: (1 + spread) * expectedMs };
  }
}
