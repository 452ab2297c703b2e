import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { type SelfTextOptions, selfTextWindows, writeSelfText } from '../../engine/calibration/self-text.ts';
import { fingerprintOf } from '../../engine/calibration/windows.ts';
import { openModel } from '../../engine/model/open.ts';
import { sampleToken } from '../../engine/model/sampling.ts';
import { mix32, SeededRandom } from '../../engine/model/seeded-random.ts';
import type { TextModel } from '../../engine/model/text-model.ts';
import { createTokenizer } from '../../engine/model/tokenizer-huggingface.ts';
import { createTaskControl } from '../../engine/service/tasks/control.ts';
import { previewSelfText, selfWindows } from '../../engine/service/tasks/self-text.ts';
import { asset, bundled } from '../assets.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-self-text-'));
afterAll(() => rmSync(folder, { recursive: true }));

const vocabularySize = 12;
const endOfText = 1;

/** Logits that depend on everything fed since the last reset, so that a wrong order or a missing reset shows. */
function scriptedModel(logitsOf: (fed: number[]) => Float32Array = hashedLogits): TextModel {
  let fed: number[] = [];
  return {
    ...{ kind: 'float', vocabularySize, contextLength: 64, activationBits: 16, kernelPath: 'scripted' },
    ...{ device: 'none', memoryBytes: {} },
    bytesReadPerToken: () => ({ linears: 0, head: 0, embedding: 0, others: 0, kvCache: 0 }),
    close: async () => {},
    createSession: async () => ({
      ...{ position: 0, contextLength: 64, cacheBytes: 0, close: () => {} },
      feed: async (ids: Int32Array) => {
        fed.push(...ids);
        return logitsOf(fed);
      },
      reset: () => {
        fed = [];
      },
      tokenLosses: () => Promise.reject(new Error('not asked for')),
      // biome-ignore lint/correctness/useYield: never called
      windowLogits: async function* () {
        throw new Error('not asked for');
      },
    }),
  } as TextModel;
}

function hashedLogits(fed: number[]): Float32Array {
  const hash = fed.reduce((sum, id) => mix32(sum ^ (id + 1)), fed.length);
  return Float32Array.from({ length: vocabularySize }, (_, id) => (mix32(hash ^ id) % 1000) / 250);
}

const options: SelfTextOptions = {
  ...{ context: 40, windowCount: 4, seed: 3, temperature: 0.8, topP: 0.95, endOfTextIds: [endOfText] },
  start: { ids: [0], chat: { beforeMessage: [2, 3], beforeAnswer: [4, 5, 6] } },
};

/** The plain definition: one window at a time, written straight down. */
function plainWindow(window: number, { seed, temperature, topP, start, context }: SelfTextOptions): number[] {
  const windowSeed = mix32(seed ^ mix32(window + 1));
  const points = new SeededRandom(windowSeed);
  const out: number[] = [];
  while (out.length < context) {
    const fed: number[] = [];
    const give = (ids: readonly number[]) => {
      fed.push(...ids);
      out.push(...ids);
    };
    const write = () => {
      for (let written = 0; out.length < context; written++) {
        const logits = hashedLogits(fed);
        if (written < 8) logits[endOfText] = Number.NEGATIVE_INFINITY;
        const id = sampleToken(logits, temperature, topP, points.nextDouble());
        if (id === endOfText) return;
        give([id]);
      }
    };
    if (start.chat !== null && window % 2 === 1) {
      give(start.chat.beforeMessage);
      write();
      give(start.chat.beforeAnswer);
      write();
    } else {
      give(start.ids);
      write();
    }
  }
  return out.slice(0, context);
}

describe('text that a model writes itself', () => {
  test('is what the plain definition gives: documents, conversations in every second window, ends behind them', async () => {
    const ids = await writeSelfText(scriptedModel(), options);
    const expected = [0, 1, 2, 3].flatMap((window) => plainWindow(window, options));
    expect([...ids]).toEqual(expected);
    expect(ids).not.toContain(endOfText);
    // Otherwise neither conversations nor new documents were tried.
    expect(expected.slice(40, 80).join()).toContain('4,5,6');
    expect(expected.slice(1, 40)).toContain(0);
  });

  test('depends on seed, temperature and top-p, and on nothing else', async () => {
    const write = (changes: Partial<SelfTextOptions> = {}) =>
      writeSelfText(scriptedModel(), { ...options, ...changes });
    const first = await write();
    expect(await write()).toEqual(first);
    for (const changes of [{ seed: 4 }, { temperature: 2 }, { topP: 0.3 }])
      expect(await write(changes), JSON.stringify(changes)).not.toEqual(first);
    // More windows begin with the same ones, and a look shows how they begin.
    expect((await write({ windowCount: 6 })).subarray(0, first.length)).toEqual(first);
    const look = await write({ windowCount: 2, tokensOfEach: 9 });
    expect([...look]).toEqual([...first.subarray(0, 9), ...first.subarray(40, 49)]);
  });

  test('goes on behind the windows that there are', async () => {
    const whole = await writeSelfText(scriptedModel(), options);
    const fed: number[] = [];
    const counting = scriptedModel((ids) => {
      fed.push(1);
      return hashedLogits(ids);
    });
    const before = whole.slice(0, 3 * 40);
    expect(await writeSelfText(counting, { ...options, before })).toEqual(whole);
    expect(fed.length).toBeLessThanOrEqual(40);
  });

  test('begins with a drawn token where the model has no beginning of text', async () => {
    const start = { ids: [], chat: null };
    const ids = await writeSelfText(scriptedModel(), { ...options, start, windowCount: 8 });
    const firsts = new Set(Array.from({ length: 8 }, (_, window) => ids[window * 40]));
    expect(firsts.size).toBeGreaterThan(1);
  });

  test('ends where it is told to, and refuses windows that do not fit', async () => {
    const border = () => Promise.reject(new Error('told to'));
    await expect(writeSelfText(scriptedModel(), { ...options, border })).rejects.toThrow('told to');
    await expect(writeSelfText(scriptedModel(), { ...options, context: 65 })).rejects.toMatchObject({
      code: 'invalid-input',
      message: expect.stringContaining('context length is 64'),
    });
  });

  test('names its hash and how it was written', () => {
    const ids = Int32Array.from({ length: 80 }, (_, index) => index % vocabularySize);
    const windows = selfTextWindows(ids, { ...options, windowCount: 2 });
    expect(windows).toMatchObject({
      fingerprint: fingerprintOf(ids, 2, 40),
      source: {
        name: 'written by the model itself',
        self: { seed: 3, temperature: 0.8, topP: 0.95, hasConversations: true },
      },
    });
  });
});

const stories260k = asset('models/stories260k/hf');
describe.each([
  ['dbell-stories-7m', bundled.model],
  ['stories260k', stories260k],
])('%s', (_, location) => {
  const request = { seed: 5, temperature: 0.8, topP: 0.95, context: 24, windows: 2, threads: 1 };
  const control = createTaskControl(() => {});

  test.skipIf(location === null)(
    'writes words, kept in the work folder, the same again after an interruption',
    async () => {
      const source = await openModel(location!);
      try {
        const tokenizer = createTokenizer(source.tokenizer, {
          modelVocabularySize: source.architecture.vocabularySize,
        });
        const work = mkdtempSync(path.join(folder, 'work-'));
        const windows = await selfWindows(source, tokenizer, request, work, control);
        expect(tokenizer.decode([...windows.ids.subarray(0, 24)])).toMatch(/[a-z]+ [a-z]+/);
        const look = await previewSelfText(source, tokenizer, { ...request, tokensOfEach: 10 }, control);
        expect([...look.ids.subarray(0, 10)]).toEqual([...windows.ids.subarray(0, 10)]);

        // Kept: read back without the model, even if the model would write something else now.
        const file = path.join(work, 'self-text.json');
        const kept = JSON.parse(readFileSync(file, 'utf8'));
        expect(kept).toMatchObject({ windowsDone: 2, fingerprint: windows.fingerprint });
        expect(await selfWindows(source, tokenizer, request, work, control)).toEqual(windows);
        // Damaged or of other settings: written anew.
        writeFileSync(file, JSON.stringify({ ...kept, ids: `AAAA${kept.ids.slice(4)}` }));
        expect(await selfWindows(source, tokenizer, request, work, control)).toEqual(windows);
        const other = await selfWindows(source, tokenizer, { ...request, seed: 6 }, work, control);
        expect(other.fingerprint).not.toBe(windows.fingerprint);
      } finally {
        source.close();
      }
    },
  );
});
