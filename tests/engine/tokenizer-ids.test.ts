import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Tokenizer } from '../../engine/model/tokenizer.ts';
import { createTokenizer } from '../../engine/model/tokenizer-huggingface.ts';
import { asset } from '../assets.ts';
import {
  comparable,
  definitionOf,
  type ExpectedText,
  hugeTextNames,
  realModels,
  textOf,
  variants,
} from './tokenizer-fixtures.ts';

/** Ids and text of Python `tokenizers`, made by scripts/fixtures/make_tokenizer_ids.py. */
function checkAgainst(tokenizer: Tokenizer, expected: Record<string, ExpectedText>): void {
  for (const [name, entry] of Object.entries(expected)) {
    const text = textOf(name);
    const parsed = tokenizer.encode(text, { parseSpecial: true });
    expect.soft(comparable(parsed, entry.ids), `${name}, control tokens parsed`).toEqual(entry.ids);
    if (hugeTextNames.includes(name)) continue;
    const plainIds = entry.plain ?? entry.ids;
    const plain = tokenizer.encode(text);
    expect.soft(comparable(plain, plainIds), `${name}, as plain text`).toEqual(plainIds);
    expect.soft(tokenizer.decode(plain), `${name}, decoded`).toBe(entry.decoded ?? text);
  }
}

describe('ids and decoded text equal those of the reference implementation', () => {
  for (const [name, { expected }] of Object.entries(variants)) {
    it(`for a tokenizer of kind: ${name}`, () => {
      checkAgainst(createTokenizer(definitionOf(name)), expected);
    });
  }

  for (const [name, { sha256, expected }] of Object.entries(realModels)) {
    const file = asset(name);
    it.skipIf(file === null)(`for ${name}`, () => {
      const bytes = readFileSync(file as string);
      expect(createHash('sha256').update(bytes).digest('hex'), 'the fixture was made from this file').toBe(
        sha256,
      );
      const config = JSON.parse(
        readFileSync(path.join(path.dirname(file as string), 'tokenizer_config.json'), 'utf8'),
      );
      checkAgainst(createTokenizer({ tokenizer: JSON.parse(bytes.toString('utf8')), config }), expected);
    });
  }
});
