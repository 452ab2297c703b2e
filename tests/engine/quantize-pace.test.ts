import { describe, expect, it } from 'vitest';
import { Pace } from '../../engine/quantize/pace.ts';

const blockOperations = 1000;

/** Does one block in chunks, each as long as `msOfChunk` says; what was said to remain of `blocksAfter` more blocks after each chunk. */
function block(pace: Pace, msOfChunk: (chunk: number) => number, blocksAfter: number, chunks = 10) {
  const said = [];
  for (let chunk = 0; chunk < chunks; chunk++) {
    pace.advance(blockOperations / chunks, msOfChunk(chunk));
    said.push(pace.remaining(blockOperations * (blocksAfter + 1) - ((chunk + 1) * blockOperations) / chunks));
  }
  pace.endBlock();
  return said;
}

describe('the time that is left', () => {
  it('is exact where all blocks are alike, and known the better the more are done', () => {
    const pace = new Pace(blockOperations, 1 / 8);
    expect(pace.remaining(1)).toBeNull();
    const spreads: number[] = [];
    for (let index = 0; index < 8; index++) {
      for (const [chunk, said] of block(pace, () => 20, 7 - index).entries()) {
        if (index === 0 && chunk === 0) expect(said).toBeNull();
        else {
          expect(said!.expectedMs).toBeCloseTo(20 * (10 * (8 - index) - chunk - 1));
          if (said!.expectedMs > 0)
            spreads.push(Number(((said!.highMs - said!.lowMs) / said!.expectedMs).toFixed(9)));
        }
      }
    }
    expect(spreads).toEqual([...spreads].sort((a, b) => b - a));
    expect(spreads[0]).toBeCloseTo(0.6);
    expect(spreads.at(-1)).toBeCloseTo(0.1);
  });

  it('does not jump where one block meets a busy machine, and the range says that it is less sure', () => {
    const pace = new Pace(blockOperations, 1 / 8);
    for (let index = 0; index < 4; index++) block(pace, () => 20, 20 - index);
    const before = pace.remaining(16 * blockOperations)!;
    // Three times as slow: no step of more than a seventh of what was said just before.
    let last = before.expectedMs;
    for (const said of block(pace, () => 60, 15)) {
      expect(Math.abs(said!.expectedMs - last) / last).toBeLessThan(1 / 7);
      last = said!.expectedMs;
    }
    const after = pace.remaining(15 * blockOperations)!;
    expect((after.highMs - after.lowMs) / after.expectedMs).toBeGreaterThan(
      2 * ((before.highMs - before.lowMs) / before.expectedMs),
    );
    // Slow for good: the estimate follows.
    for (let index = 0; index < 5; index++) block(pace, () => 60, 14 - index);
    expect(pace.remaining(blockOperations)!.expectedMs / 600).toBeGreaterThan(0.9);
  });

  it('is not led astray by the parts of a block that take unlike times, once a block is done', () => {
    const pace = new Pace(blockOperations, 1 / 8);
    const uneven = (chunk: number) => (chunk < 5 ? 4 : 36);
    block(pace, uneven, 7);
    let last = pace.remaining(7 * blockOperations)!.expectedMs;
    for (const said of block(pace, uneven, 6)) {
      expect(said!.expectedMs / last).toBeLessThan(1.03);
      expect(said!.expectedMs / last).toBeGreaterThan(0.8);
      last = said!.expectedMs;
    }
  });
});
