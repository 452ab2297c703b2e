import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { openPackage } from '../../engine/package/open.ts';
import { compareSteps } from '../../scripts/acceptance/agreement-checks.ts';
import {
  compareLogits,
  compareLosses,
  compareLossesWithSameCodes,
} from '../../scripts/acceptance/agreement-losses.ts';
import { makePackage, windowsOf } from '../../scripts/acceptance/agreement-packages.ts';
import { agreementLimits, stepFigures } from '../../scripts/acceptance/items/agreement.ts';
import { asset } from '../assets.ts';
import { packTinyModel, tinyModels } from './package-support.ts';
import { idWindows } from './quantize-support.ts';
import { writeWideModel } from './wide-model.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-agreement-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const threads = 1;
const bits = [16, 8, 6] as const;

/** 128 ids stored with each tiny model. */
function idsOf(name: string): number[] {
  const text = readFileSync(path.join(tinyModels, name, 'expected.json'), 'utf8');
  return (JSON.parse(text) as { ids: number[] }).ids;
}

const recipes = [
  ...['dbellquant', 'gptq-1', 'billm-reference', 'rtn-8', 'dbellquant-reference', 'gptq-3'],
  ...['grid-3', 'grid-2', 'grid-8'],
];
/** Models whose norms take no column scale: a transform stays explicit there. */
const withExplicitScales = ['opt-no-affine', 'opt-post-norm-projected'];

describe('tiny models of random weights: integers exactly, linears and blocks given the same activations', () => {
  const runs = readdirSync(tinyModels).map((name, index) => ({
    name,
    recipe: withExplicitScales.includes(name) ? 'dbellquant' : recipes[index % recipes.length]!,
    embeddingBits: index % 2 === 0 ? (16 as const) : (8 as const),
  }));
  test.each(runs)('$name, $recipe, $embeddingBits-bit tables', async ({ name, recipe, embeddingBits }) => {
    const out = path.join(folder, name);
    const ids = idsOf(name);
    await makePackage({
      modelPath: path.join(tinyModels, name),
      recipe,
      activationBits: 8,
      // No window may be longer than the sliding attention window of one of them.
      calibration: async () => idWindows(ids, 8, 16),
      embeddingBits,
      out,
      threads,
    });
    const source = await openPackage(out);
    const hasExplicitScales = [...source.linears.values()].some((linear) => linear.columnScale !== null);
    // A grid scales the columns of o and down too, which no norm in front can take over.
    expect(hasExplicitScales).toBe(withExplicitScales.includes(name) || recipe.startsWith('grid-'));
    const window = Int32Array.from(ids).subarray(0, 24);
    const results = await compareSteps(source, {
      ...{ bits, ids: window, linearTokens: 24, integerTokens: 24, threads },
    });
    expect(results.integers).toBeGreaterThan(0);
    expect(stepFigures(results, bits).filter(({ pass }) => pass === false)).toEqual([]);
    source.close();
  });
});

test.each([
  ['llama-odd-widths', 2],
  ['qwen2', 3],
  ['opt-post-norm-projected', 16],
] as const)('residual columns beside the grid: %s, %i levels', async (name, levels) => {
  const out = path.join(folder, `residual-${name}`);
  await packTinyModel(name, out, { levels, residualShare: 0.2, transform: true });
  const source = await openPackage(out);
  const window = Int32Array.from(idsOf(name)).subarray(0, 24);
  const options = { bits, ids: window, linearTokens: 24, integerTokens: 24, threads };
  const results = await compareSteps(source, options);
  const linears = source.architecture.blocks.flatMap((block) =>
    block.stages.flatMap((stage) => stage.linears),
  );
  // One sum for each token, row, and block of the grid; and one for each block of the residual columns, of which there is one.
  const sums = linears.reduce(
    (sum, each) => sum + each.outFeatures * (Math.ceil(each.inFeatures / 128) + 1),
    0,
  );
  expect(results.integers).toBe(sums * 24 * 2 * results.kernels.length);
  expect(stepFigures(results, bits).filter(({ pass }) => pass === false)).toEqual([]);
  source.close();
});

describe('activation scales by block, over blocks of 128, 72 and 77 columns', () => {
  writeWideModel(path.join(folder, 'wide-model'));
  test.each(['grid-3', 'gptq-3', 'rtn-8'])('%s', async (recipe) => {
    const out = path.join(folder, `wide-${recipe}`);
    const ids = idsOf('llama-odd-widths');
    await makePackage({
      modelPath: path.join(folder, 'wide-model'),
      recipe,
      activationBits: 6,
      calibration: async () => idWindows(ids, 4, 32),
      out,
      threads,
    });
    const source = await openPackage(out);
    expect(source.activationScales).toBe('block');
    const window = Int32Array.from(ids).subarray(0, 24);
    const options = { bits, ids: window, linearTokens: 24, integerTokens: 24, threads };
    const results = await compareSteps(source, options);
    expect(stepFigures(results, bits).filter(({ pass }) => pass === false)).toEqual([]);
    const evaluation = { ids: Int32Array.from(ids), windowCount: 4, context: 32 };
    const same = await compareLossesWithSameCodes(source, evaluation, 6, threads, 100);
    expect(Math.abs(same.difference)).toBeLessThan(1e-5);
    source.close();
  });
});

test('a weight that differs by a thousandth of the largest is noticed', async () => {
  const source = await openPackage(path.join(folder, 'llama-plain'));
  const unchanged = source.dequantizedBlock.bind(source);
  source.dequantizedBlock = (index) => {
    const block = unchanged(index);
    const name = source.architecture.blocks[index]!.stages[3].linears[0]!.name;
    const weight = block.weights.get(`${name}.weight`)!;
    weight[0]! += 0.001 * weight.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
    return block;
  };
  const ids = Int32Array.from(idsOf('llama-plain')).subarray(0, 24);
  const results = await compareSteps(source, { bits, ids, linearTokens: 1, integerTokens: 1, threads });
  const failed = stepFigures(results, bits).filter(({ pass }) => pass === false);
  expect(failed.map(({ name }) => name.split(',')[0])).toEqual(
    bits.map((each) => `block at A${each} given the same x̂`),
  );
  source.close();
});

const stories = asset('models/stories260k/hf');
const text = asset('data/tinystories-sample/tinystories_sample.txt');

describe.skipIf(!stories || !text)('stories260k', () => {
  test('dbellquant: logits at 16 bits, mean losses at 8 and 6', async () => {
    const windows = (windowCount: number, skip: number) => ({
      separatorId: 1,
      context: 256,
      windows: windowCount,
      skip,
      path: '',
    });
    const out = path.join(folder, 'stories260k');
    await makePackage({
      modelPath: stories!,
      recipe: 'dbellquant',
      activationBits: 8,
      calibration: (source) => windowsOf(source, text!, windows(4, 32)),
      out,
      threads,
    });
    const source = await openPackage(out);
    const evaluation = await windowsOf(source.asModelSource(), text!, windows(16, 0));
    const logits = await compareLogits(source, { ...evaluation, windowCount: 2 }, 32, threads);
    expect(logits.rows).toBe(16);
    expect(logits.worst.value).toBeLessThan(agreementLimits.logitsRelativeError);
    for (const activationBits of [8, 6] as const) {
      const { difference } = await compareLosses(source, evaluation, activationBits, threads, {
        tokens: 4000,
        standardError: 0.001,
      });
      expect(Math.abs(difference)).toBeLessThan(agreementLimits.meanLossNats);
    }
    // An error that no number of windows reaches: the float path against itself, with its embeddings moved, is measured beside.
    const unsure = await compareLosses(source, { ...evaluation, windowCount: 4 }, 6, threads, {
      ...{ tokens: 1, standardError: 0 },
    });
    expect(unsure.control!.difference).not.toBe(0);
    expect(Math.abs(unsure.control!.difference)).toBeLessThan(0.05);
    const same = await compareLossesWithSameCodes(source, evaluation, 6, threads, 1000);
    expect(same.tokens).toBe(4 * 255);
    expect(same.difference).not.toBe(0);
    expect(Math.abs(same.difference)).toBeLessThan(1e-5);
    source.close();
  });
});
