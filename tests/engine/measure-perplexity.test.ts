import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { readTokenWindows } from '../../engine/calibration/read-windows.ts';
import { fingerprintOf, type TokenWindows } from '../../engine/calibration/windows.ts';
import { createFloatTextModel } from '../../engine/float/text-model.ts';
import { generate } from '../../engine/measure/generate.ts';
import { perplexity } from '../../engine/measure/perplexity.ts';
import { openModel } from '../../engine/model/open.ts';
import { roleTokens } from '../../engine/model/tokenizer-definition.ts';
import { createTokenizer } from '../../engine/model/tokenizer-huggingface.ts';
import { asset, bundled } from '../assets.ts';

async function opened(folder: string) {
  const source = await openModel(folder);
  const model = await createFloatTextModel(source, { threads: 1 });
  const tokenizer = createTokenizer(source.tokenizer, {
    modelVocabularySize: source.architecture.vocabularySize,
  });
  const close = async () => {
    await model.close();
    source.close();
  };
  return { source, model, tokenizer, close };
}

const stories = asset('models/stories260k/hf');
const storiesText = asset('data/tinystories-sample/tinystories_sample.txt');

describe('perplexity', () => {
  it.skipIf(stories === null || storiesText === null)(
    'of a real model equals the reference value, and the token counts stand beside it',
    async () => {
      const { source, model, tokenizer, close } = await opened(stories as string);
      const begin = roleTokens(source.tokenizer.config).beginOfText as string;
      const windows = await readTokenWindows(storiesText as string, tokenizer, {
        context: 256,
        choice: { kind: 'first', count: 64 },
        beginOfTextId: tokenizer.tokenToId(begin),
      });
      const progress: number[] = [];
      const result = await perplexity(model, windows, {
        onProgress: ({ windowsDone }) => progress.push(windowsDone),
      });
      await close();
      expect(Math.abs((result.perplexity as number) / 4.1355 - 1)).toBeLessThan(0.001);
      expect(result.meanLossNats).toBeCloseTo(Math.log(result.perplexity as number), 12);
      expect(result).toMatchObject({
        tokens: 64 * 255,
        context: 256,
        windows: 64,
        textName: 'tinystories_sample.txt',
        textSha256: windows.source.textSha256,
        separatorId: 1,
        activationBits: 16,
        kernelPath: 'onnxruntime-cpu',
      });
      expect(result.standardErrorNats).toBeGreaterThan(0.005);
      expect(result.standardErrorNats).toBeLessThan(0.05);
      expect(progress).toEqual(Array.from({ length: 64 }, (_, index) => index + 1));
    },
  );

  const windowsOf = (ids: Int32Array, context: number): TokenWindows => ({
    ids,
    context,
    windowCount: ids.length / context,
    source: {
      name: 'ids',
      textSha256: '',
      documentCount: 1,
      cutDocumentCount: 0,
      totalTokens: ids.length,
      separatorId: null,
    },
    selection: { kind: 'first' },
    fingerprint: fingerprintOf(ids, ids.length / context, context),
  });

  it('is the mean over all windows, each on an empty cache; the standard error comes from their spread', async () => {
    const { model, tokenizer, close } = await opened(bundled.model);
    const text = readFileSync(bundled.validationText, 'utf8').slice(0, 3000);
    const ids = Int32Array.from(tokenizer.encode(text)).subarray(0, 3 * 64);
    const together = await perplexity(model, windowsOf(ids, 64));
    const single = [];
    for (let index = 0; index < 3; index++)
      single.push(await perplexity(model, windowsOf(ids.slice(index * 64, (index + 1) * 64), 64)));
    const means = single.map((result) => result.meanLossNats as number);
    const mean = means.reduce((sum, value) => sum + value, 0) / 3;
    expect(together.meanLossNats).toBeCloseTo(mean, 10);
    const variance = means.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 2;
    expect(together.standardErrorNats).toBeCloseTo(Math.sqrt(variance / 3), 10);
    expect(single[0]?.standardErrorNats).toBe(null);
    await expect(perplexity(model, windowsOf(new Int32Array(2048), 1024))).rejects.toThrow(
      "a window has 1024 tokens, but the model's context length is 512; choose a smaller context",
    );
    await expect(perplexity(model, windowsOf(Int32Array.of(1, 4096), 2))).rejects.toThrow(
      "token id 4096 at position 1 is outside of the model's vocabulary (ids 0 to 4095); the text was tokenized for another model",
    );
    await close();
  });
});

describe('greedy continuations equal the reference ids', () => {
  const references: [model: string | null, prompt: string, expected: string][] = [
    [
      stories,
      'Once upon a time',
      '432 383 286 261 376 298 315 421 395 317 426 338 401 396 267 337 335 311 267 422 419 269 311 374',
    ],
    [
      asset('models/tinystories-656k/hf'),
      'Once upon a time',
      '547 425 665 97 497 471 1169 238 65 126 70 799 115 114 189 71 1672 449 1977 97 1945 189 71 626',
    ],
    [
      bundled.model,
      'One day, a little fox',
      '448 983 488 267 416 352 441 12 259 1042 694 1652 448 983 12 512 1373 384 259 425 1338 14 983 312',
    ],
  ];
  for (const [folder, prompt, expected] of references) {
    it.skipIf(folder === null)(`${path.basename(path.dirname(folder ?? ''))}: ${prompt}`, async () => {
      const { source, model, tokenizer, close } = await opened(folder as string);
      const promptIds = tokenizer.encode(prompt);
      const ids = expected.split(' ').map(Number);
      const streamed: string[] = [];
      const result = await generate(model, tokenizer, promptIds, {
        maximumTokens: ids.length,
        sampling: { kind: 'greedy' },
        endOfTextIds: source.architecture.endOfTextIds,
        onText: (text) => streamed.push(text),
      });
      await close();
      expect(result.tokenIds).toEqual(ids);
      expect(result.finishReason).toBe('length');
      expect(result.promptTokens).toBe(promptIds.length);
      expect(streamed.join('')).toBe(result.text);
      expect(prompt + result.text).toBe(tokenizer.decode([...promptIds, ...ids]));
      expect(result.timeToFirstTokenMs).toBeGreaterThan(0);
      expect(result.decodeTokensPerSecond).toBeGreaterThan(0);
    });
  }
});
