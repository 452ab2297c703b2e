import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { documentParts } from '../../engine/calibration/documents.ts';
import { textLimits } from '../../engine/calibration/limits.ts';
import { defaultSeparatorId, readTokenWindows } from '../../engine/calibration/read-windows.ts';
import { findTextFiles, type TextFile } from '../../engine/calibration/text-files.ts';
import { type WindowChoice, WindowSelector } from '../../engine/calibration/window-selector.ts';
import { fingerprintOf } from '../../engine/calibration/windows.ts';
import type { DBellError } from '../../engine/contract/errors.ts';
import { roleTokens } from '../../engine/model/tokenizer-definition.ts';
import { createTokenizer } from '../../engine/model/tokenizer-huggingface.ts';
import { asset, bundled } from '../assets.ts';
import { definitionOf } from './tokenizer-fixtures.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-calibration-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const tokenizer = createTokenizer(definitionOf('gpt2'));
const separator = tokenizer.tokenToId('<|endoftext|>') as number;
let fileCount = 0;

function file(content: string | Uint8Array, extension = 'txt'): string {
  const full = path.join(folder, `text-${fileCount++}.${extension}`);
  writeFileSync(full, content);
  return full;
}

function textFileOf(source: string): TextFile {
  return findTextFiles(source).files[0] as TextFile;
}

/** All ids of a text whose length the test knows: one window of that many tokens. */
async function idsOf(source: string, count: number): Promise<number[]> {
  const windows = await readTokenWindows(source, tokenizer, {
    context: count,
    choice: { kind: 'first', count: 1 },
  });
  expect(windows.source.totalTokens).toBe(count);
  return [...windows.ids];
}

async function errorOf(source: string, options: Partial<Parameters<typeof readTokenWindows>[2]> = {}) {
  try {
    await readTokenWindows(source, tokenizer, {
      context: 4,
      choice: { kind: 'first', count: 1 },
      ...options,
    });
  } catch (error) {
    return `${(error as DBellError).code}: ${(error as DBellError).message}`;
  }
  return 'no error';
}

const ids = (text: string) => tokenizer.encode(text);
const several = (...texts: string[]) => texts.flatMap((text) => [separator, ...ids(text)]);

describe('a text becomes documents', () => {
  const cases: [what: string, content: string, expected: number[]][] = [
    ['one document is taken as it is', '\n\nThe fox.\n', ids('\n\nThe fox.\n')],
    [
      'several are stripped of newlines and preceded by the separator',
      '\nThe fox.\n\n<|endoftext|>\n\n The dog.\n\n<|endoftext|>\nOver.\n',
      several('The fox.', ' The dog.', 'Over.'),
    ],
    [
      'a separator may end the last line of its document',
      'The fox.<|endoftext|>\nThe dog.<|endoftext|>\n',
      several('The fox.', 'The dog.'),
    ],
    ['Windows line ends', 'The fox.\r\n<|endoftext|>\r\nThe\r\ndog.\r\n', several('The fox.', 'The\r\ndog.')],
    [
      'blank documents are left out',
      'a\n<|endoftext|>\n \n<|endoftext|>\n\nb\n<|endoftext|>',
      several('a', 'b'),
    ],
    [
      'a separator inside a line is plain text',
      'The <|endoftext|> fox.\n<|endoftext|>\nThe dog.',
      several('The <|endoftext|> fox.', 'The dog.'),
    ],
    [
      'a single document with a separator at its end has none before it',
      'The fox.\n<|endoftext|>\n',
      ids('The fox.\n'),
    ],
    ['a byte order mark is no text', '\ufeffThe fox.', ids('The fox.')],
  ];
  it.each(cases)('%s', async (_, content, expected) => {
    expect(await idsOf(file(content), expected.length)).toEqual(expected);
  });

  it('JSON Lines have one document a line', async () => {
    const content =
      '{"text":"The fox.\\n","id":1}\n\n{"text":"<|endoftext|>"}\r\n{"text":""}\n{"text":"The dog."}';
    const expected = several('The fox.', '<|endoftext|>', 'The dog.');
    expect(await idsOf(file(content, 'jsonl'), expected.length)).toEqual(expected);
  });

  it('a folder gives its text files in order of name, subfolders too, hidden ones not', async () => {
    const texts = path.join(folder, 'texts');
    mkdirSync(path.join(texts, 'sub', '.hidden'), { recursive: true });
    writeFileSync(path.join(texts, 'b.txt'), 'The fox.\n');
    writeFileSync(path.join(texts, 'a.jsonl'), '{"text":"first"}\n');
    writeFileSync(path.join(texts, 'sub', 'c.TXT'), 'x\n<|endoftext|>\ny');
    writeFileSync(path.join(texts, 'ignored.md'), 'no');
    writeFileSync(path.join(texts, 'sub', '.hidden', 'd.txt'), 'no');
    symlinkSync(texts, path.join(texts, 'loop'));
    const expected = several('first', 'The fox.', 'x', 'y');
    expect(await idsOf(texts, expected.length)).toEqual(expected);
  });

  it('a separator is found at every place relative to the chunks in which a file is read', async () => {
    const word = 'the fox ';
    for (let offset = -18; offset <= 2; offset++) {
      const length = textLimits.chunkBytes + offset;
      const before = word.repeat(length / word.length) + 'x'.repeat(length % word.length);
      expect(before.length).toBe(length);
      for (const separatorLine of ['<|endoftext|>\n', '<|endoftext|>\r\n', '<|endoftext|>']) {
        const isLast = separatorLine.endsWith('>');
        const parts = [
          ...documentParts(textFileOf(file(`${before}${separatorLine}${isLast ? '' : 'y'}`)), 'several'),
        ];
        const expected = isLast ? [before] : [before, 'y'];
        expect(parts.map((part) => part.text).join('|') === expected.join('|'), `offset ${offset}`).toBe(
          true,
        );
        expect(parts.every((part) => part.startsDocument)).toBe(true);
      }
    }
  });

  it('a document too long to be handled at once is cut at a line break, and says so', async () => {
    const line = 'The quick brown fox jumps over the lazy dog.\n';
    const source = file(line.repeat(100_000));
    const windows = await readTokenWindows(source, tokenizer, {
      context: 64,
      choice: { kind: 'first', count: 2 },
    });
    expect(windows.source).toMatchObject({ documentCount: 1, cutDocumentCount: 1, separatorId: null });
    expect(windows.source.totalTokens).toBe(ids(line.repeat(2)).length * 50_000);
  });
});

describe('windows', () => {
  const text = file(Array.from({ length: 400 }, (_, index) => `fox ${index} over`).join('\n'));
  const read = (choice: WindowChoice, context = 16) => readTokenWindows(text, tokenizer, { context, choice });

  it('are cut from the start without overlap, the rest is dropped', async () => {
    const all = ids(readFileSync(text, 'utf8'));
    const windows = await read({ kind: 'first', count: 'all' });
    expect(windows.windowCount).toBe(Math.floor(all.length / 16));
    expect([...windows.ids]).toEqual(all.slice(0, windows.windowCount * 16));
    const three = await read({ kind: 'first', count: 3 });
    expect([...three.ids]).toEqual(all.slice(0, 48));
  });

  it('drawn with a seed are the same for the same seed, in order, none twice, and windows of the text', async () => {
    const all = await read({ kind: 'first', count: 'all' });
    const places = (windows: Awaited<ReturnType<typeof read>>) =>
      Array.from({ length: windows.windowCount }, (_, index) => {
        const window = windows.ids.subarray(index * 16, (index + 1) * 16).join();
        return Array.from({ length: all.windowCount }, (_, at) => at).filter(
          (at) => all.ids.subarray(at * 16, (at + 1) * 16).join() === window,
        )[0] as number;
      });
    const drawn = await read({ kind: 'seeded', count: 20, seed: 5 });
    expect((await read({ kind: 'seeded', count: 20, seed: 5 })).fingerprint).toBe(drawn.fingerprint);
    expect((await read({ kind: 'seeded', count: 20, seed: 6 })).fingerprint).not.toBe(drawn.fingerprint);
    const found = places(drawn);
    expect(found).toEqual([...found].sort((a, b) => a - b));
    expect(new Set(found).size).toBe(20);
    const everything = await read({ kind: 'seeded', count: all.windowCount, seed: 1 });
    expect(everything.ids).toEqual(all.ids);
  });

  it('are drawn evenly: each window of 50 comes in 10 of 50 draws as often as chance has it', () => {
    const hits = new Float64Array(50);
    const draws = 4000;
    for (let seed = 0; seed < draws; seed++) {
      const selector = new WindowSelector(2, { kind: 'seeded', count: 10, seed });
      selector.push(Array.from({ length: 100 }, (_, index) => index >> 1));
      const { ids: chosen } = selector.take();
      for (let index = 0; index < chosen.length; index += 2) hits[chosen[index] as number]! += 1;
    }
    // Binomial: mean 800, deviation 25.3; six deviations around it.
    for (const hit of hits) expect(Math.abs(hit - draws / 5)).toBeLessThan(6 * Math.sqrt(draws * 0.2 * 0.8));
  });

  it('carry hashes of the text and of the ids', async () => {
    const windows = await read({ kind: 'first', count: 2 });
    const bytes = readFileSync(text);
    expect(windows.source.textSha256).toBe(createHash('sha256').update(bytes).digest('hex'));
    expect(windows.source.name).toBe(path.basename(text));
    expect(windows.fingerprint).toBe(fingerprintOf(windows.ids, 2, 16));
    expect(fingerprintOf(windows.ids, 4, 8), 'the shape counts').not.toBe(windows.fingerprint);
  });

  it('report progress and stop when asked', async () => {
    const controller = new AbortController();
    const seen: number[] = [];
    const source = file(`${'The fox jumps. '.repeat(9000)}\n<|endoftext|>\n`.repeat(20));
    const reading = readTokenWindows(source, tokenizer, {
      context: 8,
      choice: { kind: 'first', count: 1 },
      signal: controller.signal,
      onProgress: ({ bytesDone, bytesTotal }) => {
        seen.push(bytesDone / bytesTotal);
        if (seen.length === 2) controller.abort();
      },
    });
    await expect(reading).rejects.toThrow(expect.objectContaining({ code: 'stopped' }));
    expect(seen.length).toBe(2);
  });
});

describe('a text that cannot be used is refused with the reason', () => {
  const bad: [what: string, source: () => string, message: string][] = [
    [
      'missing',
      () => 'no-such.txt',
      'not-found: text no-such.txt does not exist; give a file, a folder or one of bundled:general, bundled:stories, bundled:stories-validation',
    ],
    [
      'an unknown bundled one',
      () => 'bundled:poems',
      'not-found: there is no text bundled:poems; bundled texts are bundled:general, bundled:stories, bundled:stories-validation',
    ],
    ['empty', () => file(''), 'invalid-text: NAME is empty (0 bytes)'],
    [
      'blank',
      () => file(' \n\t\n  \n'),
      'invalid-text: NAME holds no text: 7 bytes, all of them blank or separators',
    ],
    [
      'blank and longer than what is tokenized at once',
      () => file(' \n'.repeat(2_500_000)),
      'invalid-text: NAME holds no text: 5000000 bytes, all of them blank or separators',
    ],
    [
      'separators only',
      () => file('<|endoftext|>\n\n<|endoftext|>\n'),
      'invalid-text: NAME holds no text: 29 bytes, all of them blank or separators',
    ],
    [
      'binary',
      () => file(Uint8Array.of(65, 66, 0, 67)),
      'invalid-text: NAME is no text: byte 2 is zero; give a UTF-8 text file',
    ],
    [
      'UTF-16',
      () => file(Buffer.from('\ufeffabc', 'utf16le')),
      'invalid-text: NAME is UTF-16; convert it to UTF-8',
    ],
    [
      'Latin-1',
      () => file(Buffer.from('The café is open', 'latin1')),
      'invalid-text: NAME is not valid UTF-8: byte 7 starts no character; convert the file to UTF-8',
    ],
    [
      'cut off inside a character',
      () => file(Buffer.from('The €', 'utf8').subarray(0, -1)),
      'invalid-text: NAME is not valid UTF-8: byte 4 starts no character; convert the file to UTF-8',
    ],
    [
      'JSON Lines with a broken line',
      () => file('{"text":"a"}\n{"text":\n', 'jsonl'),
      'invalid-text: NAME, line 2: not valid JSON (Unexpected end of JSON input); each line must be an object with a field text',
    ],
    [
      'JSON Lines without the field',
      () => file('{"text":"a"}\n{"content":"b"}\n', 'jsonl'),
      'invalid-text: NAME, line 2: no field text with a string',
    ],
    [
      'shorter than a window',
      () => file('The fox'),
      'invalid-text: NAME is too short: 1 window of 4 tokens need 4 tokens, the text has COUNT (0 windows of 4 tokens); MISSING tokens are missing, roughly BYTES B more text of this kind. Add text, or ask for fewer or shorter windows',
    ],
  ];
  it.each(bad)('%s', async (_, source, message) => {
    const path_ = source();
    const count = ids('The fox').length;
    const expected = message
      .replace('NAME', path.basename(path_))
      .replace('COUNT', String(count))
      .replace('MISSING', String(4 - count))
      .replace('BYTES', String(Math.ceil(((4 - count) * 7) / count)));
    expect(await errorOf(path_)).toBe(expected);
  });

  it('a folder without text files', async () => {
    const empty = path.join(folder, 'empty');
    mkdirSync(empty);
    expect(await errorOf(empty)).toBe(`invalid-text: folder ${empty} holds no .txt or .jsonl file`);
  });

  it('invalid UTF-8 is found at the seams of chunks, at its true place', async () => {
    for (const shift of [-2, -1, 0, 1]) {
      const bytes = Buffer.alloc(textLimits.chunkBytes * 1.5, 'the fox ');
      const at = textLimits.chunkBytes + shift;
      bytes.write('€', at);
      const valid = file(bytes);
      expect(await errorOf(valid), `a character at ${at}`).toBe('no error');
      bytes[at + 2] = 0x41;
      expect(await errorOf(file(bytes))).toMatch(new RegExp(`byte ${at} starts no character`));
    }
  });

  const options: [object, string][] = [
    [{ context: 1 }, 'invalid-input: a window has 1 tokens; it needs an integer from 2 to 1048576'],
    [{ context: 4.5 }, 'invalid-input: a window has 4.5 tokens; it needs an integer from 2 to 1048576'],
    [
      { context: 64, modelContextLength: 32 },
      "invalid-input: a window has 64 tokens, but the model's context length is 32; choose a smaller context",
    ],
    [
      { choice: { kind: 'first', count: 0 } },
      'invalid-input: the number of windows is 0; it must be an integer from 1',
    ],
    [
      { choice: { kind: 'first', count: 2 ** 28 } },
      'invalid-input: 268435456 windows of 4 tokens are 1073741824 tokens; the limit is 536870912',
    ],
    [
      { choice: { kind: 'seeded', count: 1, seed: -1 } },
      'invalid-input: the seed is -1; it must be an integer from 0',
    ],
    [
      { separatorId: 5000 },
      'invalid-input: the document separator 5000 is no token id; the vocabulary has ids from 0 to 422',
    ],
  ];
  it.each(options)('bad option %j', async (option, message) => {
    expect(await errorOf(bundled.generalText, option)).toBe(message);
  });
});

describe('the separator', () => {
  it('is the id of <|endoftext|>, else the begin-of-text id, else none', () => {
    expect(defaultSeparatorId(tokenizer, 7)).toBe(separator);
    const without = createTokenizer(definitionOf('llama'));
    expect(defaultSeparatorId(without, 1)).toBe(1);
    expect(defaultSeparatorId(without, null)).toBe(null);
  });

  it('may be set or left out', async () => {
    const text = file('a\n<|endoftext|>\nb');
    const read = (separatorId: number | null) =>
      readTokenWindows(text, tokenizer, { context: 2, choice: { kind: 'first', count: 1 }, separatorId });
    expect([...(await read(9)).ids]).toEqual([9, ...ids('a')]);
    expect([...(await read(null)).ids]).toEqual([...ids('a'), ...ids('b')]);
  });
});

interface Reference {
  model: string;
  text: string | null;
  context: number;
  windows: number;
  totalTokens: number;
  firstIds: number[];
  separatorId: number;
}
const references: Reference[] = [
  {
    model: bundled.model,
    text: bundled.validationText,
    context: 512,
    windows: 64,
    totalTokens: 213_257,
    firstIds: [0, 44, 914, 372, 259, 2248, 14, 351],
    separatorId: 0,
  },
  ...['hf', 'hf-qwen2'].flatMap((kind) => [
    {
      model: `models/stories260k/${kind}`,
      text: asset('data/tinystories-sample/tinystories_sample.txt'),
      context: 256,
      windows: 64,
      totalTokens: 475_332,
      firstIds: [1, 385, 328, 432, 261, 376, 298, 315],
      separatorId: 1,
    },
    {
      model: `models/tinystories-656k/${kind}`,
      text: asset('data/tinystories-sample/tinystories_sample.txt'),
      context: 256,
      windows: 64,
      totalTokens: 234_328,
      firstIds: [1, 80, 429, 598, 303, 489, 1148, 177],
      separatorId: 1,
    },
  ]),
  {
    model: 'models/tinystories-instruct-3m-gptneo/hf-opt',
    text: asset('models/tinystories-instruct-3m-gptneo/src/chat_val.txt'),
    context: 256,
    windows: 64,
    totalTokens: 62_286,
    firstIds: [14_018, 7815, 25, 3410, 11, 4602, 9918, 13],
    separatorId: 14_018,
  },
];

describe('tokens of real models and texts equal the reference values', () => {
  for (const { model, text, ...expected } of references) {
    const modelFolder = path.isAbsolute(model) ? model : asset(model);
    it.skipIf(modelFolder === null || text === null)(
      `${path.basename(text ?? '')} for ${model}`,
      async () => {
        const json = (name: string) =>
          JSON.parse(readFileSync(path.join(modelFolder as string, name), 'utf8')) as Record<string, unknown>;
        const config = json('tokenizer_config.json');
        const own = createTokenizer({ tokenizer: json('tokenizer.json'), config });
        const begin = roleTokens(config).beginOfText;
        const windows = await readTokenWindows(text as string, own, {
          context: expected.context,
          choice: { kind: 'first', count: expected.windows },
          beginOfTextId: begin === null ? null : own.tokenToId(begin),
        });
        expect(windows.source).toMatchObject({
          totalTokens: expected.totalTokens,
          separatorId: expected.separatorId,
        });
        expect([...windows.ids.subarray(0, 8)]).toEqual(expected.firstIds);
        expect(windows.windowCount).toBe(expected.windows);
      },
    );
  }
});
