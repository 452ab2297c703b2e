import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { createFloatEngine } from '../../engine/float/engine.ts';
import { createFloatTextModel } from '../../engine/float/text-model.ts';
import type { ActivationBits } from '../../engine/float/types.ts';
import { openModel } from '../../engine/model/open.ts';
import type { ModelSource } from '../../engine/model/source.ts';
import { createTokenizer } from '../../engine/model/tokenizer-huggingface.ts';
import { asset, bundled } from '../assets.ts';
import { relativeMaximumError } from './float-tiny-model.ts';

const threads = 2;
let source: ModelSource | null = null;
afterEach(() => {
  source?.close();
  source = null;
});

describe('tiny random models of every option', () => {
  const fixtures = path.join(import.meta.dirname, '..', 'fixtures', 'model');
  const models = [
    ...readdirSync(path.join(fixtures, 'tiny')).map((name) => ['tiny', name]),
    ...readdirSync(path.join(fixtures, 'gguf')).map((name) => ['gguf', name]),
  ] as [string, string][];
  test.each(models)('%s/%s equals the expected logits and losses', async (kind, file) => {
    const expectedPath = path.join(fixtures, 'tiny', path.basename(file, '.gguf'), 'expected.json');
    const expected = JSON.parse(readFileSync(expectedPath, 'utf8')) as {
      ids: number[];
      positions: number[];
      logits: number[][];
      losses: number[];
    };
    source = await openModel(path.join(fixtures, kind, file));
    const { architecture } = source;
    const ids = Int32Array.from(expected.ids);
    const engine = await createFloatEngine(source, { threads });
    const runner = await engine.blockRunner(ids.length);
    let hidden = engine.embed(ids);
    for (const { index } of architecture.blocks)
      hidden = await runner.forward(index, engine.loadBlock(index), hidden, { activationBits: 16 });
    const logits = await engine.logits(hidden, ids.length);
    const size = architecture.vocabularySize;
    for (const [index, position] of expected.positions.entries())
      expect(
        relativeMaximumError(
          logits.subarray(position * size, (position + 1) * size),
          expected.logits[index]!,
        ),
      ).toBeLessThan(1e-5);
    expect(relativeMaximumError(await engine.tokenLosses(hidden, ids), expected.losses)).toBeLessThan(1e-5);
    await engine.close();
  });
});

interface RealModel {
  model: string | null;
  text: string | null;
  separator: number | null;
  context: number;
  windows: number;
  perplexity: number;
  firstIds: number[];
  prompt: string;
  continuation: number[];
}

const stories = { text: asset('data/tinystories-sample/tinystories_sample.txt'), separator: 1, context: 256 };
const stories260k = {
  ...stories,
  windows: 64,
  perplexity: 4.1355,
  firstIds: [1, 385, 328, 432, 261, 376, 298, 315],
  prompt: 'Once upon a time',
  continuation: [
    432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426, 338, 401, 396, 267, 337, 335, 311, 267, 422, 419,
    269, 311, 374,
  ],
};
const stories656k = {
  ...stories,
  windows: 64,
  perplexity: 36.808,
  firstIds: [1, 80, 429, 598, 303, 489, 1148, 177],
  prompt: 'Once upon a time',
  continuation: [
    547, 425, 665, 97, 497, 471, 1169, 238, 65, 126, 70, 799, 115, 114, 189, 71, 1672, 449, 1977, 97, 1945,
    189, 71, 626,
  ],
};
const smolLm2 = {
  model: asset('models/smollm2-135m-instruct-gguf/SmolLM2-135M-Instruct.Q4_1.gguf'),
  text: asset('data/wikitext-2-raw/wiki.test.joined.txt'),
  separator: null,
  firstIds: [1116, 446, 6356, 389],
  prompt: 'The capital of France is',
  continuation: [7042, 30, 198, 198, 504, 2988, 314, 42, 216, 34, 32, 33, 40, 29, 32, 33],
};

/** Perplexities and greedy continuations that were computed independently, in PyTorch. */
const realModels: Record<string, RealModel> = {
  'stories260k/hf': { model: asset('models/stories260k/hf'), ...stories260k },
  'stories260k/hf-qwen2': { model: asset('models/stories260k/hf-qwen2'), ...stories260k },
  'tinystories-656k/hf': { model: asset('models/tinystories-656k/hf'), ...stories656k },
  'tinystories-656k/hf-qwen2': { model: asset('models/tinystories-656k/hf-qwen2'), ...stories656k },
  'tinystories-instruct-3m-gptneo/hf-opt': {
    model: asset('models/tinystories-instruct-3m-gptneo/hf-opt'),
    text: asset('models/tinystories-instruct-3m-gptneo/src/chat_val.txt'),
    separator: 14018,
    context: 256,
    windows: 64,
    perplexity: 25.426,
    firstIds: [14018, 7815, 25, 3410, 11, 4602, 9918, 13],
    prompt: 'Once upon a time',
    continuation: [
      11, 610, 373, 257, 1270, 2360, 3219, 9824, 13, 1330, 373, 833, 8449, 290, 4768, 284, 5415, 262, 978,
      1068, 605, 13, 1773, 1088,
    ],
  },
  'dbell-stories-7m': {
    model: bundled.model,
    text: bundled.validationText,
    separator: 0,
    context: 512,
    windows: 64,
    perplexity: 9.2188,
    firstIds: [0, 44, 914, 372, 259, 2248, 14, 351],
    prompt: 'One day, a little fox',
    continuation: [
      448, 983, 488, 267, 416, 352, 441, 12, 259, 1042, 694, 1652, 448, 983, 12, 512, 1373, 384, 259, 425,
      1338, 14, 983, 312,
    ],
  },
  'SmolLM2, 2 windows of 1024': { ...smolLm2, context: 1024, windows: 2, perplexity: 20.2384 },
  'SmolLM2, 8 windows of 512': { ...smolLm2, context: 512, windows: 8, perplexity: 30.647 },
};

/** Ids of the text's first windows, documents joined by the separator. */
function windowIds(model: ModelSource, row: RealModel): Int32Array {
  const tokenizer = createTokenizer(model.tokenizer);
  const text = readFileSync(row.text!, 'utf8');
  const documents = text.split('<|endoftext|>');
  const ids: number[] = [];
  for (const document of documents) {
    if (ids.length >= row.windows * row.context) break;
    if (row.separator === null) {
      // Long enough for the windows that are asked for; a whole book takes long to tokenize.
      ids.push(...tokenizer.encode(document.slice(0, 40_000)));
      continue;
    }
    const stripped = document.replace(/^\n+|\n+$/g, '');
    if (stripped !== '') ids.push(row.separator, ...tokenizer.encode(stripped));
  }
  return Int32Array.from(ids.slice(0, row.windows * row.context));
}

async function perplexityOf(
  opened: ModelSource,
  row: RealModel,
  ids: Int32Array,
  activationBits: ActivationBits,
): Promise<number> {
  const model = await createFloatTextModel(opened, { threads, activationBits });
  const session = await model.createSession();
  let sum = 0;
  let count = 0;
  for (let begin = 0; begin < ids.length; begin += row.context) {
    const losses = await session.tokenLosses(ids.subarray(begin, begin + row.context));
    for (const loss of losses) sum += loss;
    count += losses.length;
  }
  await model.close();
  expect(count).toBe(row.windows * (row.context - 1));
  return Math.exp(sum / count);
}

describe.each(Object.entries(realModels))('%s', (_, row) => {
  const skipped = row.model === null || row.text === null;

  test.skipIf(skipped)('has the perplexity that was computed independently', async () => {
    source = await openModel(row.model!);
    const ids = windowIds(source, row);
    expect([...ids.subarray(0, row.firstIds.length)]).toEqual(row.firstIds);
    expect(ids).toHaveLength(row.windows * row.context);
    const perplexity = await perplexityOf(source, row, ids, 16);
    expect(Math.abs(perplexity / row.perplexity - 1)).toBeLessThan(0.003);
  });

  test.skipIf(skipped)('continues the prompt greedily as computed independently', async () => {
    source = await openModel(row.model!);
    const prompt = createTokenizer(source.tokenizer).encode(row.prompt);
    const model = await createFloatTextModel(source, { threads });
    const session = await model.createSession();
    let logits = await session.feed(Int32Array.from(prompt));
    for (const [index, expected] of row.continuation.entries()) {
      const best = logits.indexOf(Math.max(...logits));
      // Another choice counts only where the two logits are a tie within float32's reach.
      expect(logits[best]! - logits[expected]!, `token ${index}`).toBeLessThan(
        best === expected ? 1e-9 : 1e-3,
      );
      if (index + 1 < row.continuation.length) logits = await session.feed(Int32Array.of(expected));
    }
    await model.close();
  });
});

test.each([
  [8, 9.22],
  [6, 9.34],
] as const)(
  'activations of %i bits cost dbell-stories-7m what was measured independently',
  async (bits, expected) => {
    const row = realModels['dbell-stories-7m']!;
    source = await openModel(row.model!);
    const perplexity = await perplexityOf(source, row, windowIds(source, row), bits);
    expect(Math.abs(perplexity / expected - 1), `perplexity ${perplexity}`).toBeLessThan(0.003);
  },
);
