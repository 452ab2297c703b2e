import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import { findMatches } from '../../engine/model/tokenizer-patterns.ts';

const llama3 = /[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+/gu;

/** Makes the engine refuse texts beyond a length, as it does beyond some million characters. */
function refusingBeyond(length: number, pattern: RegExp): RegExp {
  return new (class extends RegExp {
    override [Symbol.matchAll](text: string) {
      if (text.length > length) throw new RangeError('Maximum call stack size exceeded');
      return super[Symbol.matchAll](text);
    }
  })(pattern.source, pattern.flags);
}

describe('findMatches', () => {
  it('in slices gives the matches of the whole text', () => {
    const random = new SeededRandom(3);
    const parts = ['the', ' ', '  ', '\n', ' \n', '123', '12', '!', '==', '字', '😀', ' fox'];
    let text = '';
    while (text.length < 1_300_000) text += parts[Math.floor(random.nextDouble() * parts.length)];
    const whole = findMatches(text, llama3);
    const sliced = findMatches(text, refusingBeyond(600_000, llama3));
    expect(sliced.length).toBe(whole.length);
    const different = sliced.findIndex(
      (match, index) => match.index !== whole[index]?.index || match.text !== whole[index]?.text,
    );
    expect(different).toBe(-1);
  });

  it('cuts a run that is longer than a slice and loses nothing of it', () => {
    const text = `x ${'😀字'.repeat(400_000)} y`;
    const matches = findMatches(text, refusingBeyond(600_000, llama3));
    expect(matches.map((match) => match.text).join('')).toBe(text);
    expect(matches.every((match) => match.text.isWellFormed())).toBe(true);
  });
});

it('a line of five million letters is too much for the engine as a whole, and is still matched whole', () => {
  const text = '字'.repeat(5_000_000);
  expect(() => text.match(llama3)).toThrow(RangeError);
  const matches = findMatches(text, llama3);
  expect(matches.reduce((sum, match) => sum + match.text.length, 0)).toBe(text.length);
});
