import { cpSync, mkdtempSync, readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { tokenizerFromVocabularyAndMerges } from '../../engine/model/gpt2-tokenizer.ts';
import { inspectModel, openModel } from '../../engine/model/open.ts';
import { createTokenizer } from '../../engine/model/tokenizer-huggingface.ts';
import { asset } from '../assets.ts';
import { comparable, definitionOf, textOf, variants } from './tokenizer-fixtures.ts';

const { tokenizer: json } = definitionOf('gpt2');
const added = json.added_tokens as { id: number; content: string }[];
const vocabulary = {
  ...(json.model.vocab as Record<string, number>),
  ...Object.fromEntries(added.map(({ id, content }) => [content, id])),
};
const merges = `#version: 0.2\n${(json.model.merges as string[][]).map((pair) => pair.join(' ')).join('\r\n')}\n`;
const roles = { bos_token: '<|im_start|>', eos_token: { content: '<|im_end|>' }, pad_token: '<|endoftext|>' };

describe('a tokenizer from vocab.json and merges.txt', () => {
  it('has the ids of the same tokenizer as tokenizer.json', () => {
    const tokenizer = createTokenizer({
      tokenizer: tokenizerFromVocabularyAndMerges(vocabulary, merges, {}, roles),
      config: {},
    });
    for (const [name, { ids }] of Object.entries(variants.gpt2?.expected ?? {})) {
      const text = textOf(name);
      const found = tokenizer.encode(text, { parseSpecial: true });
      expect.soft(comparable(found, ids), name).toEqual(ids);
    }
  });

  it('refuses another kind of tokenizer and a broken merge, by name', () => {
    expect(() =>
      tokenizerFromVocabularyAndMerges(vocabulary, merges, { tokenizer_class: 'CLIPTokenizer' }, {}),
    ).toThrow(
      'the tokenizer CLIPTokenizer is there as vocab.json and merges.txt only; save it as tokenizer.json (the "fast" format) first',
    );
    expect(() => tokenizerFromVocabularyAndMerges(vocabulary, '#version: 0.2\na b\na b c\n', {}, {})).toThrow(
      'merges.txt, line 3: "a b c" is not two tokens with a blank between',
    );
  });

  const opt = asset('models/tinystories-instruct-3m-gptneo/hf-opt');
  it.skipIf(opt === null)('serves a model folder that has no tokenizer.json', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'dbell-opt-'));
    afterAll(() => rmSync(folder, { recursive: true, force: true }));
    cpSync(opt as string, folder, { recursive: true });
    const full = JSON.parse(readFileSync(path.join(folder, 'tokenizer.json'), 'utf8'));
    unlinkSync(path.join(folder, 'tokenizer.json'));
    writeFileSync(path.join(folder, 'vocab.json'), JSON.stringify(full.model.vocab));
    writeFileSync(path.join(folder, 'merges.txt'), `${full.model.merges.join('\n')}\n`);
    const model = await openModel(folder);
    const tokenizer = createTokenizer(model.tokenizer);
    const original = createTokenizer({ tokenizer: full, config: {} });
    for (const name of ['plain', 'contractions', 'emoji', 'control token text'])
      expect(tokenizer.encode(textOf(name), { parseSpecial: true })).toEqual(
        original.encode(textOf(name), { parseSpecial: true }),
      );
    const stored = model.tokenizerFiles.get('tokenizer.json') as Uint8Array;
    expect(JSON.parse(Buffer.from(stored).toString('utf8'))).toEqual(model.tokenizer.tokenizer);
    model.close();
    writeFileSync(path.join(folder, 'merges.txt'), 'one\n');
    const { problems } = await inspectModel(folder);
    expect(problems.map(({ message }) => message)).toEqual([
      'merges.txt, line 1: "one" is not two tokens with a blank between',
    ]);
  });
});
