import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TokenWindows } from '../../engine/calibration/windows.ts';
import { verdictOf, verdictThresholds } from '../../engine/contract/verdict.ts';
import { createFloatEngine } from '../../engine/float/engine.ts';
import { createFloatTextModel } from '../../engine/float/text-model.ts';
import { perplexity } from '../../engine/measure/perplexity.ts';
import { measureQuality, pieceRows } from '../../engine/measure/quality.ts';
import { percentile } from '../../engine/measure/statistics.ts';
import { openModel } from '../../engine/model/open.ts';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import type { ModelSource } from '../../engine/model/source.ts';
import type { TextModel } from '../../engine/model/text-model.ts';
import { runtime } from '../../engine/native/runtime.ts';
import { createPackageSink } from '../../engine/package/sink.ts';
import { quantize } from '../../engine/quantize/pipeline.ts';
import { resolveRecipe } from '../../engine/quantize/resolve-recipe.ts';
import { createPackedTextModel } from '../../engine/runtime/packed-text-model.ts';
import { asset, bundled } from '../assets.ts';
import { compareLogitsPlainly } from '../reference/logit-comparison.ts';
import { idWindows, textWindows } from './quantize-support.ts';
import { ScriptedTextModel } from './scripted-text-model.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-quality-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('compareLogits', () => {
  const random = new SeededRandom(11);
  const normal = () => {
    let sum = -6;
    for (let index = 0; index < 12; index++) sum += random.nextDouble();
    return sum;
  };
  const logits = (size: number, spread: number, offset = 0) =>
    Float32Array.from({ length: size }, () => offset + spread * normal());
  const near = (values: Float32Array, distance: number) => values.map((value) => value + distance * normal());

  const cases: [label: string, original: Float32Array, candidate: Float32Array][] = [];
  for (const size of [1, 2, 31, 257, 4096, 49_152]) {
    const original = logits(size, 3);
    cases.push([`${size} tokens, unrelated`, original, logits(size, 3)]);
    cases.push([`${size} tokens, alike`, original, near(original, 0.02)]);
  }
  const flat = new Float32Array(1000);
  const peaked = Float32Array.from({ length: 1000 }, (_, index) => (index === 700 ? 80 : 0));
  cases.push(['flat against peaked', flat, peaked], ['peaked against flat', peaked, flat]);
  const wide = logits(3000, 10);
  cases.push([
    'both far from zero, in opposite directions',
    wide.map((x) => x + 5e4),
    wide.map((x) => x - 5e4),
  ]);
  cases.push([
    'a token that is impossible for both',
    Float32Array.of(1, -1e30, 2),
    Float32Array.of(0, -1e30, 2),
  ]);

  test.each(cases)('%s: as plain float64 says', (_, original, candidate) => {
    const target = Math.floor(original.length / 2);
    const [originalLoss, candidateLoss, divergence, originalTop, candidateTop] = runtime.compareLogits(
      original,
      candidate,
      Int32Array.of(target),
    );
    const plain = compareLogitsPlainly(original, candidate, target);
    const close = (value: number, expected: number) =>
      expect(Math.abs(value - expected)).toBeLessThan(1e-6 * Math.max(1, Math.abs(expected)));
    close(originalLoss!, plain.originalLoss);
    close(candidateLoss!, plain.candidateLoss);
    close(divergence!, plain.divergenceNats);
    expect([originalTop, candidateTop]).toEqual([plain.originalTop, plain.candidateTop]);
    // A small divergence is not lost in rounding.
    if (plain.divergenceNats > 1e-5) expect(divergence! / plain.divergenceNats).toBeCloseTo(1, 2);
  });

  test('equal logits have a divergence of exactly 0, and of equal logits the lowest token is the top one', () => {
    const row = logits(5000, 4);
    row[40] = 100;
    row[4999] = 100;
    const compared = runtime.compareLogits(row, row.slice(), Int32Array.of(3));
    expect([...compared.slice(2)]).toEqual([0, 40, 40]);
    expect(compared[0]).toBe(compared[1]);
  });

  test('rows are compared each by itself', () => {
    const original = logits(3 * 500, 3);
    const candidate = logits(3 * 500, 3);
    const targets = Int32Array.of(0, 499, 17);
    const together = runtime.compareLogits(original, candidate, targets);
    for (let row = 0; row < 3; row++) {
      const part = (values: Float32Array) => values.slice(row * 500, (row + 1) * 500);
      const alone = runtime.compareLogits(part(original), part(candidate), targets.slice(row, row + 1));
      expect([...together.slice(row * 5, row * 5 + 5)]).toEqual([...alone]);
    }
  });

  test('what cannot be compared is refused with the numbers', () => {
    const row = new Float32Array(10);
    expect(() => runtime.compareLogits(row, row, Int32Array.of(10))).toThrow(
      'token id 10 is outside the vocabulary of 10',
    );
    expect(() => runtime.compareLogits(row, row, Int32Array.of(-1))).toThrow('token id -1 is outside');
    expect(() => runtime.compareLogits(row, new Float32Array(9), Int32Array.of(1))).toThrow(
      'candidate has 9 elements',
    );
    expect(() => runtime.compareLogits(row, row, Int32Array.of(1, 2, 3))).toThrow('10 values for 3 targets');
    expect(() => runtime.compareLogits(row, row, new Int32Array(0))).toThrow('0 targets');
  });
});

describe('the verdict', () => {
  test.each([
    [1, 1, 'usable'],
    [1.25, 0.75, 'usable'],
    [0.97, 0.9, 'usable'],
    [1.2501, 0.9, 'degraded'],
    [1.1, 0.7499, 'degraded'],
    [2, 0.4, 'degraded'],
    [2.0001, 0.99, 'broken'],
    [null, 0.99, 'broken'],
    [Number.NaN, 0.99, 'broken'],
  ])('of a ratio of %s and an agreement of %s is %s', (perplexityRatio, topTokenAgreement, expected) => {
    expect(verdictOf({ perplexityRatio, topTokenAgreement })).toBe(expected);
  });

  test('follows the thresholds that it is given', () => {
    const strict = {
      usable: { mostPerplexityRatio: 1.01, leastTopTokenAgreement: 0.95 },
      degraded: { mostPerplexityRatio: 1.05 },
    };
    const figures = { perplexityRatio: 1.04, topTokenAgreement: 0.9 };
    expect([verdictOf(figures), verdictOf(figures, strict)]).toEqual(['usable', 'degraded']);
    expect(verdictOf({ ...figures, perplexityRatio: 1.06 }, strict)).toBe('broken');
  });
});

test('a piece of logits stays small for any vocabulary', () => {
  expect(pieceRows(512)).toBe(256);
  for (const vocabulary of [1, 4096, 49_152, 151_936, 10_000_000])
    expect(pieceRows(vocabulary) * vocabulary).toBeLessThanOrEqual(Math.max(2 ** 22, vocabulary));
  expect(pieceRows(10_000_000)).toBe(1);
});

async function packaged(
  source: ModelSource,
  recipe: string,
  windows: TokenWindows,
  name = recipe,
): Promise<string> {
  const out = path.join(folder, name);
  const workDirectory = `${out}.partial`;
  const engine = await createFloatEngine(source, { threads: 2 });
  await quantize({
    source,
    engine,
    windows,
    recipe: resolveRecipe(recipe, {}, 16, source.architecture.family),
    embeddingBits: 16,
    sink: createPackageSink({ workDirectory, outputDirectory: out }),
    workDirectory,
    outputDirectory: out,
    seed: 0,
    threads: 2,
  });
  await engine.close();
  return out;
}

/** Logits after each id of a window, one token at a time: the plain way. */
async function fedLogits(model: TextModel, ids: Int32Array): Promise<Float32Array[]> {
  const session = await model.createSession({ contextLength: ids.length });
  const rows: Float32Array[] = [];
  for (const id of ids) rows.push((await session.feed(Int32Array.of(id))).slice());
  session.close();
  return rows;
}

/** Rows of `windowLogits`, and the sizes of its pieces. */
async function piecesOf(model: TextModel, ids: Int32Array, rowsPerPiece: number) {
  const session = await model.createSession({ contextLength: ids.length });
  const rows: Float32Array[] = [];
  const sizes: number[] = [];
  for await (const piece of session.windowLogits(ids, rowsPerPiece)) {
    sizes.push(piece.length / model.vocabularySize);
    for (let at = 0; at < piece.length; at += model.vocabularySize)
      rows.push(piece.slice(at, at + model.vocabularySize));
  }
  session.close();
  return { rows, sizes };
}

describe('the bundled model and packages of it', () => {
  let source: ModelSource;
  let original: TextModel;
  let coarse: TextModel;
  let fine: TextModel;
  /** 3 windows of 300: more than one chunk of the runtime. */
  let windows: TokenWindows;
  beforeAll(async () => {
    source = await openModel(bundled.model);
    const calibration = await textWindows(source, bundled.trainingText, 0, 8, 256);
    const threads = { threads: 2 };
    original = await createFloatTextModel(source, threads);
    coarse = await createPackedTextModel(await packaged(source, 'gptq-2', calibration), threads);
    fine = await createPackedTextModel(await packaged(source, 'gptq-4', calibration), threads);
    windows = await textWindows(source, bundled.validationText, 0, 3, 300);
  });
  afterAll(async () => {
    for (const model of [original, coarse, fine]) await model.close();
    source.close();
  });

  test.each([1, 7, 256, 1000])(
    'logits of a window in pieces of %i rows are those of single tokens',
    async (rowsPerPiece) => {
      const ids = windows.ids.subarray(0, rowsPerPiece === 1 ? 20 : 300);
      for (const model of [original, coarse]) {
        const { rows, sizes } = await piecesOf(model, ids, rowsPerPiece);
        expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(ids.length);
        expect(sizes.slice(0, -1).every((size) => size === rowsPerPiece)).toBe(true);
        const fed = await fedLogits(model, ids);
        for (const [position, row] of rows.entries()) {
          // The packed runtime's rows depend on nothing but their tokens; onnxruntime's products round differently in batches.
          if (model.kind === 'packed') expect(row).toEqual(fed[position]);
          else
            for (const [token, value] of row.entries())
              if (!(Math.abs(value - fed[position]![token]!) < 2e-3))
                expect(value).toBe(fed[position]![token]);
        }
      }
    },
  );

  test('a model compared with itself: ratio 1, no divergence, full agreement, usable', async () => {
    const result = await measureQuality(fine, fine, windows);
    expect(result).toMatchObject({
      perplexityRatio: 1,
      perplexityRatioStandardError: 0,
      topTokenAgreement: 1,
      topTokenAgreementStandardError: 0,
      klDivergenceNats: { mean: 0, standardError: 0, p50: 0, p90: 0, p95: 0, p99: 0, maximum: 0 },
      verdict: 'usable',
      thresholds: verdictThresholds,
    });
  });

  test('all figures of a package are those of plain float64 over logits fed token by token', async () => {
    const windowsDone: number[] = [];
    const result = await measureQuality(original, coarse, windows, {
      onProgress: (progress) => windowsDone.push(progress.windowsDone),
    });
    const divergences: number[] = [];
    const windowMeans = { kl: [0, 0, 0], agreement: [0, 0, 0], difference: [0, 0, 0], loss: [0, 0, 0] };
    for (let window = 0; window < 3; window++) {
      const ids = windows.ids.subarray(window * 300, (window + 1) * 300);
      const [p, q] = [await fedLogits(original, ids), await fedLogits(coarse, ids)];
      for (let position = 0; position < 299; position++) {
        const plain = compareLogitsPlainly(p[position]!, q[position]!, ids[position + 1]!);
        divergences.push(plain.divergenceNats);
        windowMeans.kl[window]! += plain.divergenceNats / 299;
        windowMeans.agreement[window]! += (plain.originalTop === plain.candidateTop ? 1 : 0) / 299;
        windowMeans.difference[window]! += (plain.candidateLoss - plain.originalLoss) / 299;
        windowMeans.loss[window]! += plain.originalLoss / 299;
      }
    }
    const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
    const error = (values: number[]) =>
      Math.sqrt(values.reduce((sum, value) => sum + (value - mean(values)) ** 2, 0) / 2 / 3);
    const ratio = Math.exp(mean(windowMeans.difference));
    expect(result.originalPerplexity! / Math.exp(mean(windowMeans.loss))).toBeCloseTo(1, 5);
    expect(result.perplexityRatio! / ratio).toBeCloseTo(1, 5);
    expect(result.perplexityRatioStandardError!).toBeCloseTo(ratio * error(windowMeans.difference), 5);
    // One top token may lie so close that batches decide it.
    expect(Math.abs(result.topTokenAgreement - mean(windowMeans.agreement))).toBeLessThan(2 / 897);
    expect(result.topTokenAgreementStandardError!).toBeCloseTo(error(windowMeans.agreement), 2);
    const { klDivergenceNats: kl } = result;
    expect(kl.mean / mean(windowMeans.kl)).toBeCloseTo(1, 4);
    expect(kl.standardError! / error(windowMeans.kl)).toBeCloseTo(1, 3);
    for (const percent of [50, 90, 95, 99] as const)
      expect(kl[`p${percent}`] / percentile(divergences, percent)).toBeCloseTo(1, 3);
    expect(kl.maximum / Math.max(...divergences)).toBeCloseTo(1, 3);
    expect(result).toMatchObject({
      tokens: 3 * 299,
      context: 300,
      windows: 3,
      textName: 'stories.valid.txt',
      textSha256: windows.source.textSha256,
      separatorId: 0,
      activationBits: 16,
      originalActivationBits: 16,
      kernelPath: coarse.kernelPath,
    });
    expect(windowsDone).toEqual([1, 2, 3]);
  });

  test('perplexities are those that `perplexity` measures; more bits are closer in every figure', async () => {
    const [two, four] = [
      await measureQuality(original, coarse, windows),
      await measureQuality(original, fine, windows),
    ];
    for (const [model, value] of [
      [original, two.originalPerplexity],
      [coarse, two.perplexity],
      [fine, four.perplexity],
    ] as const)
      expect(value! / (await perplexity(model, windows)).perplexity!).toBeCloseTo(1, 5);
    expect(two.perplexity! / two.originalPerplexity!).toBeCloseTo(two.perplexityRatio!, 8);
    expect(four.perplexityRatio!).toBeLessThan(two.perplexityRatio!);
    expect(four.topTokenAgreement).toBeGreaterThan(two.topTokenAgreement + 0.1);
    expect(four.klDivergenceNats.mean).toBeLessThan(two.klDivergenceNats.mean / 5);
    expect([four.verdict, two.verdict]).toEqual(['usable', 'broken']);
  });

  test('one window has no standard errors', async () => {
    const one = { ...windows, windowCount: 1, ids: windows.ids.slice(0, 300) };
    expect(await measureQuality(original, fine, one)).toMatchObject({
      perplexityRatioStandardError: null,
      topTokenAgreementStandardError: null,
      klDivergenceNats: { standardError: null },
    });
  });

  test('a stop between windows ends it, and models of unlike vocabularies are refused', async () => {
    let windowsBegun = 0;
    const border = async () => {
      if (windowsBegun++ === 1) throw new Error('enough');
    };
    await expect(measureQuality(original, fine, windows, { border })).rejects.toThrow('enough');
    await expect(measureQuality(new ScriptedTextModel([1], 100), fine, windows)).rejects.toThrow(
      'the original has a vocabulary of 100 tokens, the other model one of 4096',
    );
    await expect(measureQuality(original, fine, idWindows([1, 2, 3, 5000], 1, 4))).rejects.toThrow(
      'token id 5000',
    );
  });
});

const tiny = asset('models/stories260k/hf');
test.skipIf(tiny === null)('a model of another family of sizes: stories260k at 4 bits', async () => {
  const source = await openModel(tiny!);
  const calibration = await textWindows(source, bundled.trainingText, 1, 8, 128);
  const original = await createFloatTextModel(source, { threads: 1 });
  const candidate = await createPackedTextModel(
    await packaged(source, 'gptq-4', calibration, 'stories260k'),
    {
      threads: 1,
    },
  );
  const windows = await textWindows(source, bundled.validationText, 1, 4, 128);
  const result = await measureQuality(original, candidate, windows);
  expect(result.perplexityRatio).toBeGreaterThan(1);
  expect(result.perplexityRatio).toBeLessThan(1.5);
  expect(result.klDivergenceNats.mean).toBeGreaterThan(0.005);
  expect(result.klDivergenceNats.mean).toBeLessThan(0.5);
  await original.close();
  await candidate.close();
  source.close();
});
