import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import { BytePairEncoder } from '../../engine/model/tokenizer-bpe.ts';
import { parseTokenizerDefinition } from '../../engine/model/tokenizer-definition.ts';
import { bytePairPlain } from '../reference/byte-pair.ts';

/** A vocabulary over a small alphabet, so that merges overlap and compete; merges in random order. */
function randomVocabulary(seed: number) {
  const random = new SeededRandom(seed);
  const below = (count: number) => Math.floor(random.nextDouble() * count);
  const tokens = [...'abcd'];
  const merges: [string, string][] = [];
  while (merges.length < 40) {
    const left = tokens[below(tokens.length)] as string;
    const right = tokens[below(tokens.length)] as string;
    if (left.length + right.length > 8 || tokens.includes(left + right)) continue;
    tokens.push(left + right);
    merges.push([left, right]);
  }
  const vocabulary = new Map(tokens.map((token, id) => [token, id]));
  const texts = Array.from({ length: 60 }, () =>
    Array.from({ length: 1 + below(80) }, () => 'abcd'[below(4)]).join(''),
  );
  return { vocabulary, merges, texts };
}

function encoderOf(vocabulary: Map<string, number>, merges: [string, string][]): BytePairEncoder {
  const model = { type: 'BPE', vocab: Object.fromEntries(vocabulary), merges };
  return new BytePairEncoder(parseTokenizerDefinition({ model }), new Set());
}

describe('BytePairEncoder', () => {
  it('gives the ids of the plain algorithm on random vocabularies', () => {
    for (let seed = 0; seed < 20; seed++) {
      const { vocabulary, merges, texts } = randomVocabulary(seed);
      const encoder = encoderOf(vocabulary, merges);
      for (const text of texts) {
        const ids: number[] = [];
        encoder.encode(text, ids);
        expect(ids, `seed ${seed}, ${text}`).toEqual(bytePairPlain(text, vocabulary, merges));
      }
    }
  });

  it('gives the same ids again from its memory of short pieces', () => {
    const { vocabulary, merges } = randomVocabulary(1);
    const encoder = encoderOf(vocabulary, merges);
    const first: number[] = [];
    encoder.encode('abcabcdd', first);
    const second: number[] = [];
    encoder.encode('abcabcdd', second);
    expect(second).toEqual(first);
  });

  it('takes time in proportion to the length of a text without a blank, not to its square', () => {
    const { vocabulary, merges, texts } = randomVocabulary(2);
    const encoder = encoderOf(vocabulary, merges);
    const timeOf = (length: number) => {
      const text = texts.join('').repeat(200).slice(0, length);
      // CPU time, not wall time: other processes of the machine must not decide the outcome.
      const startedAt = process.cpuUsage();
      encoder.encode(text, []);
      const { user, system } = process.cpuUsage(startedAt);
      return user + system;
    };
    timeOf(25_000);
    const short = Math.min(timeOf(25_000), timeOf(25_000), timeOf(25_000));
    const long = Math.min(timeOf(200_000), timeOf(200_000), timeOf(200_000));
    // Eight times the text: 8 to 12 times the time when linear in n log n, 64 times when quadratic.
    expect(long / short).toBeLessThan(40);
  });
});
