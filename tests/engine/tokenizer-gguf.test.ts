import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { DBellError } from '../../engine/contract/errors.ts';
import { tokenizerFromGguf } from '../../engine/model/gguf-tokenizer.ts';
import { openModel } from '../../engine/model/open.ts';
import { createTokenizer } from '../../engine/model/tokenizer-huggingface.ts';
import { asset } from '../assets.ts';
import { comparable, definitionOf, hugeTextNames, textOf, variants } from './tokenizer-fixtures.ts';

type Vocabulary = Record<string, number>;

/** A GGUF's metadata that holds the tokenizer of a byte-level variant. */
function byteLevelMetadata(variant: string, pre: string | null): Map<string, unknown> {
  const { tokenizer } = definitionOf(variant);
  const tokens: string[] = [];
  for (const [token, id] of Object.entries(tokenizer.model.vocab as Vocabulary)) tokens[id] = token;
  const types = tokens.map(() => 1);
  for (const { id, content } of tokenizer.added_tokens as { id: number; content: string }[]) {
    tokens[id] = content;
    types[id] = 3;
  }
  const metadata = new Map<string, unknown>([
    ['tokenizer.ggml.model', 'gpt2'],
    ['tokenizer.ggml.tokens', tokens],
    ['tokenizer.ggml.token_type', Int32Array.from(types)],
    ['tokenizer.ggml.merges', (tokenizer.model.merges as string[][]).map((pair) => pair.join(' '))],
    ['tokenizer.ggml.bos_token_id', tokens.indexOf('<|im_start|>')],
    ['tokenizer.ggml.eos_token_id', tokens.indexOf('<|im_end|>')],
    ['tokenizer.chat_template', '{{ messages }}'],
  ]);
  if (pre !== null) metadata.set('tokenizer.ggml.pre', pre);
  return metadata;
}

function errorOf(change: (metadata: Map<string, unknown>) => void): string {
  const metadata = byteLevelMetadata('gpt2', 'gpt-2');
  change(metadata);
  try {
    tokenizerFromGguf(metadata);
  } catch (error) {
    return `${(error as DBellError).code}: ${(error as DBellError).message}`;
  }
  return 'no error';
}

describe('a byte-level tokenizer from a GGUF', () => {
  it.each([
    ['gpt2', 'gpt-2'],
    ['smollm', 'smollm'],
    ['llama3', 'llama-bpe'],
    ['qwen2', 'qwen2'],
  ])('has the ids of the family %s', (variant, pre) => {
    const tokenizer = createTokenizer(tokenizerFromGguf(byteLevelMetadata(variant, pre)));
    for (const [name, { ids }] of Object.entries(variants[variant]?.expected ?? {})) {
      if (hugeTextNames.includes(name)) continue;
      const found = tokenizer.encode(textOf(name), { parseSpecial: true });
      expect.soft(comparable(found, ids), name).toEqual(ids);
    }
  });

  it('writes files that give the same tokenizer again, and keeps roles and template', () => {
    const made = tokenizerFromGguf(byteLevelMetadata('llama3', 'llama-bpe'));
    const file = (name: string) =>
      JSON.parse(Buffer.from(made.files.get(name) as Uint8Array).toString('utf8')) as Record<string, unknown>;
    expect(file('tokenizer.json')).toEqual(JSON.parse(JSON.stringify(made.tokenizer)));
    expect(file('tokenizer_config.json')).toMatchObject({
      bos_token: '<|im_start|>',
      eos_token: '<|im_end|>',
      chat_template: '{{ messages }}',
    });
    expect(made.chatTemplate).toBe('{{ messages }}');
  });

  it('without tokenizer.ggml.pre splits as such old files were split', () => {
    const tokenizer = createTokenizer(tokenizerFromGguf(byteLevelMetadata('gpt2', null)));
    expect(tokenizer.decode(tokenizer.encode('x1234567 a+b=c'))).toBe('x1234567 a+b=c');
    const tokens = tokenizer.encode('$$ 1234').map((id) => tokenizer.idToToken(id));
    expect(tokens.slice(0, 3)).toEqual(['$', '$', 'Ġ']);
  });

  it.each<[string, (metadata: Map<string, unknown>) => void, string]>([
    [
      'an unknown pre-tokenizer',
      (metadata) => metadata.set('tokenizer.ggml.pre', 'viking'),
      'unsupported-model: tokenizer.ggml.pre "viking" is not known; supported: default, gpt-2, olmo, mpt, smollm, starcoder, refact, command-r, llama-bpe, llama3, llama-v3, falcon3, qwen2, deepseek-r1-qwen, tekken',
    ],
    [
      'a name that every object has',
      (metadata) => metadata.set('tokenizer.ggml.pre', 'constructor'),
      'unsupported-model: tokenizer.ggml.pre "constructor" is not known; supported: default, gpt-2, olmo, mpt, smollm, starcoder, refact, command-r, llama-bpe, llama3, llama-v3, falcon3, qwen2, deepseek-r1-qwen, tekken',
    ],
    [
      'no tokenizer',
      (metadata) => metadata.delete('tokenizer.ggml.model'),
      'invalid-model: the GGUF has no tokenizer (tokenizer.ggml.model is missing); use a file that contains one',
    ],
    [
      'another kind',
      (metadata) => metadata.set('tokenizer.ggml.model', 'bert'),
      'unsupported-model: tokenizer.ggml.model "bert" is not supported; supported: gpt2, llama',
    ],
    [
      'no tokens',
      (metadata) => metadata.delete('tokenizer.ggml.tokens'),
      'invalid-model: tokenizer.ggml.tokens is missing',
    ],
    [
      'tokens that are numbers',
      (metadata) => metadata.set('tokenizer.ggml.tokens', Int32Array.of(1, 2)),
      'invalid-model: tokenizer.ggml.tokens is not a list of strings',
    ],
    [
      'fewer types than tokens',
      (metadata) => metadata.set('tokenizer.ggml.token_type', Int32Array.of(1, 2)),
      'invalid-model: tokenizer.ggml.token_type has 2 entries, tokenizer.ggml.tokens 423',
    ],
    [
      'a merge of one part',
      (metadata) => metadata.set('tokenizer.ggml.merges', ['ab']),
      'invalid-model: tokenizer.ggml.merges[0] is "ab"; expected two tokens with a blank between',
    ],
    [
      'a role outside of the vocabulary',
      (metadata) => metadata.set('tokenizer.ggml.eos_token_id', 423),
      'invalid-model: tokenizer.ggml.eos_token_id is 423, outside of the 423 tokens',
    ],
  ])('%s is refused by name', (_, change, message) => {
    expect(errorOf(change)).toBe(message);
  });

  it('a token that stands twice is a warning that names both ids', () => {
    const metadata = byteLevelMetadata('gpt2', 'gpt-2');
    (metadata.get('tokenizer.ggml.tokens') as string[]).push('qu');
    const types = [...(metadata.get('tokenizer.ggml.token_type') as Int32Array), 1];
    metadata.set('tokenizer.ggml.token_type', Int32Array.from(types));
    const first = (metadata.get('tokenizer.ggml.tokens') as string[]).indexOf('qu');
    expect(tokenizerFromGguf(metadata).warnings).toEqual([
      `tokenizer.ggml.tokens: "qu" has the ids ${first} and 423; text is encoded with ${first}`,
    ]);
  });
});

describe('a SentencePiece tokenizer from a GGUF', () => {
  /** llama2.c's file: longest length, then for each token score, length, bytes. */
  function scoresOf(file: string): { tokens: string[]; scores: number[] } {
    const bytes = readFileSync(file);
    const tokens: string[] = [];
    const scores: number[] = [];
    for (let offset = 4; offset < bytes.length; ) {
      scores.push(bytes.readFloatLE(offset));
      const length = bytes.readInt32LE(offset + 4);
      tokens.push(bytes.toString('utf8', offset + 8, offset + 8 + length));
      offset += 8 + length;
    }
    return { tokens, scores };
  }

  const scoreFile = asset('models/stories260k/src/tok512.bin');
  const jsonFile = asset('models/stories260k/hf/tokenizer.json');
  it.skipIf(scoreFile === null || jsonFile === null)(
    'has the ids of the tokenizer.json that was made from the same scores',
    () => {
      const { scores } = scoresOf(scoreFile as string);
      const json = JSON.parse(readFileSync(jsonFile as string, 'utf8'));
      const tokens: string[] = [];
      for (const [token, id] of Object.entries(json.model.vocab as Vocabulary)) tokens[id] = token;
      const types = tokens.map((token, id) => (id === 0 ? 2 : id < 3 ? 3 : /^<0x..>$/.test(token) ? 6 : 1));
      const made = tokenizerFromGguf(
        new Map<string, unknown>([
          ['tokenizer.ggml.model', 'llama'],
          ['tokenizer.ggml.tokens', tokens],
          ['tokenizer.ggml.token_type', types],
          ['tokenizer.ggml.scores', Float32Array.from(scores)],
          ['tokenizer.ggml.unknown_token_id', 0],
          ['tokenizer.ggml.bos_token_id', 1],
          ['tokenizer.ggml.eos_token_id', 2],
        ]),
      );
      const fromScores = createTokenizer(made);
      const fromJson = createTokenizer({ tokenizer: json, config: {} });
      for (const name of Object.keys(variants.llama?.expected ?? {})) {
        const text = textOf(name).slice(0, 20_000);
        expect.soft(fromScores.encode(text), name).toEqual(fromJson.encode(text));
        expect
          .soft(fromScores.decode(fromScores.encode(text)), name)
          .toBe(fromJson.decode(fromJson.encode(text)));
      }
    },
  );

  it('without add_space_prefix puts no blank in front', () => {
    const metadata = new Map<string, unknown>([
      ['tokenizer.ggml.model', 'llama'],
      ['tokenizer.ggml.tokens', ['<unk>', '▁', 'a', 'b', 'ab', '▁ab']],
      ['tokenizer.ggml.token_type', [2, 1, 1, 1, 1, 1]],
      ['tokenizer.ggml.scores', [0, -1, -2, -3, -4, -5]],
      ['tokenizer.ggml.unknown_token_id', 0],
    ]);
    const withPrefix = createTokenizer(tokenizerFromGguf(metadata));
    expect(withPrefix.encode('ab ab')).toEqual([5, 5]);
    metadata.set('tokenizer.ggml.add_space_prefix', false);
    const without = createTokenizer(tokenizerFromGguf(metadata));
    expect(without.encode('ab ab')).toEqual([4, 5]);
    expect(without.decode([4, 5])).toBe('ab ab');
  });
});

const smol = asset('models/smollm2-135m-instruct-gguf/SmolLM2-135M-Instruct.Q4_1.gguf');
const wikiText = asset('data/wikitext-2-raw/wiki.test.joined.txt');
describe.skipIf(smol === null || wikiText === null)('the tokenizer inside the SmolLM2 GGUF', () => {
  it('has the ids and the count of the reference values on WikiText-2, and gives the text back', async () => {
    const model = await openModel(smol as string);
    const tokenizer = createTokenizer(model.tokenizer, {
      modelVocabularySize: model.architecture.vocabularySize,
    });
    const text = readFileSync(wikiText as string, 'utf8');
    const ids = tokenizer.encode(text);
    expect(ids.slice(0, 4)).toEqual([1116, 446, 6356, 389]);
    expect(ids.length).toBe(304_978);
    expect(tokenizer.decode(ids)).toBe(text);
    expect(tokenizer.encode('The capital of France is')).toEqual([504, 3575, 282, 4649, 314]);
    model.close();
  });
});
