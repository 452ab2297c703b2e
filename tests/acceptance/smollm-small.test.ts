import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { smollmModel } from '../../scripts/acceptance/items/recipes.ts';
import { quantizeAndMeasure } from '../../scripts/acceptance/quantize-and-measure.ts';
import { asset } from '../assets.ts';

/** SmolLM2 at small sizes: 4 × 512 calibration tokens, 2 × 1024 evaluation tokens (full precision there: 20.24). */
const model = asset(smollmModel);
const calibrationText = asset('data/c4-sample/c4_sample.jsonl');
const evaluationText = asset('data/wikitext-2-raw/wiki.test.joined.txt');
const scratch = mkdtempSync(path.join(os.tmpdir(), 'dbell-smollm-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

test.skipIf(!model || !calibrationText || !evaluationText).each([
  { recipe: 'gptq-3', activationBits: 16, mostBits: 3.28, mostPerplexity: 300 },
  { recipe: 'dbellquant', activationBits: 8, mostBits: 2.96, mostPerplexity: 20_000 },
  { recipe: 'grid-4', activationBits: 8, mostBits: 2.18, mostPerplexity: 3000 },
])(
  'SmolLM2 at $recipe, A$activationBits, keeps its stored bits, memory and quality',
  async ({ recipe, activationBits, mostBits, mostPerplexity }) => {
    const figures = await quantizeAndMeasure({
      scratch,
      name: 'smollm-small',
      model: model!,
      recipe,
      activationBits,
      calibration: { text: calibrationText!, windows: 4, context: 512 },
      evaluation: { text: evaluationText!, windows: 2, context: 1024, separator: 'none' },
    });
    const value = (prefix: string) => figures.find(({ name }) => name.startsWith(prefix))!.measured as number;
    console.log(figures.map(({ name, measured }) => `${name}: ${measured}`).join(', '));
    expect(value('stored bits')).toBeLessThan(mostBits);
    expect(value('peak RSS')).toBeLessThan(1.5e9);
    expect(value('perplexity')).toBeLessThan(mostPerplexity);
  },
  600_000,
);
