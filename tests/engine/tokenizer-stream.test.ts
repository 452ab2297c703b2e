import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import type { Tokenizer } from '../../engine/model/tokenizer.ts';
import { createTokenizer } from '../../engine/model/tokenizer-huggingface.ts';
import { definitionOf, textOf, variants } from './tokenizer-fixtures.ts';

const byteLevel = createTokenizer(definitionOf('gpt2'));
const sentencePiece = createTokenizer(definitionOf('llama'));

function streamed(tokenizer: Tokenizer, ids: number[]): string[] {
  const stream = tokenizer.stream();
  return [...ids.map((id) => stream.push(id)), stream.flush()];
}

/** Ids of single bytes: every byte-level alphabet and every SentencePiece byte table has them. */
function byteIds(tokenizer: Tokenizer, bytes: Iterable<number>, name: (byte: number) => string): number[] {
  return Array.from(bytes, (byte) => tokenizer.tokenToId(name(byte)) as number);
}
const sentencePieceByte = (byte: number) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;

describe('a stream of tokens', () => {
  it.each(Object.keys(variants))('concatenates to what decode gives: %s', (name) => {
    const tokenizer = createTokenizer(definitionOf(name));
    for (const text of ['emoji', 'cjk', 'combining', 'metaspace sign', 'blanks', 'control token text']) {
      const ids = tokenizer.encode(textOf(text), { parseSpecial: true });
      expect(streamed(tokenizer, ids).join('')).toBe(tokenizer.decode(ids));
    }
  });

  it('concatenates to what decode gives for random ids, which are mostly broken characters', () => {
    const random = new SeededRandom(7);
    for (const tokenizer of [byteLevel, sentencePiece]) {
      for (let round = 0; round < 50; round++) {
        const ids = Array.from({ length: 40 }, () =>
          Math.floor(random.nextDouble() * (tokenizer.vocabularySize + 5)),
        );
        expect(streamed(tokenizer, ids).join('')).toBe(tokenizer.decode(ids));
      }
    }
  });

  it('holds a character back until its last byte, whichever way it is cut', () => {
    const text = 'a😸é한 b';
    const ids = byteIds(sentencePiece, Buffer.from(text, 'utf8'), sentencePieceByte);
    const pieces = streamed(sentencePiece, ids);
    expect(pieces.join('')).toBe(text);
    expect(pieces).toEqual(['a', '', '', '', '😸', '', 'é', '', '', '한', ' ', 'b', '']);
  });

  it('a token may end one character and begin the next', () => {
    const { tokenizer: json, config } = definitionOf('gpt2');
    // 😸 is F0 9F 98 B8: tokens of 3 bytes, and of 1 byte with a whole é (C3 A9) behind.
    const vocab = json.model.vocab as Record<string, number>;
    const characters = (hex: string) =>
      [...Buffer.from(hex, 'hex')]
        .map((byte) => (byte >= 0xa1 && byte !== 0xad ? String.fromCharCode(byte) : byteCharacter(byte)))
        .join('');
    // GPT-2's table puts the bytes 7F to A0 at U+0121 up, after the 33 control characters and blank.
    const byteCharacter = (byte: number) => String.fromCharCode(0x121 + byte - 0x7f);
    vocab[characters('f09f98')] = 500;
    vocab[characters('b8c3a9')] = 501;
    const tokenizer = createTokenizer({ tokenizer: json, config });
    expect(streamed(tokenizer, [500, 501])).toEqual(['', '😸é', '']);
    expect(streamed(tokenizer, [500]), 'generation ends inside the character').toEqual(['', '\ufffd']);
  });

  it('invalid bytes become U+FFFD at once and do not stall what follows', () => {
    const ids = byteIds(sentencePiece, [0xff, 0x41, 0xe2, 0x82, 0x42, 0xc3], sentencePieceByte);
    expect(streamed(sentencePiece, ids)).toEqual(['\ufffd', 'A', '', '', '\ufffdB', '', '\ufffd']);
  });

  it('takes one leading blank of a text away, but none of a continuation', () => {
    const ids = sentencePiece.encode('the fox');
    expect(sentencePiece.decode(ids)).toBe('the fox');
    expect(sentencePiece.decode(ids, { continuation: true })).toBe(' the fox');
    const pieces = ids.map((id) => sentencePiece.decode([id], { continuation: true }));
    expect(pieces.join('')).toBe(' the fox');
  });

  it('leaves control tokens out unless asked for, and ids without a token always', () => {
    const end = byteLevel.tokenToId('<|im_end|>') as number;
    const ids = [...byteLevel.encode('fox'), end, 10_000];
    expect(byteLevel.decode(ids)).toBe('fox');
    expect(byteLevel.decode(ids, { keepSpecial: true })).toBe('fox<|im_end|>');
    expect(byteLevel.decode([])).toBe('');
  });
});
