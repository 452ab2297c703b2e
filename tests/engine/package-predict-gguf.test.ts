import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { notesInWords } from '../../engine/contract/quantization.ts';
import { openModel } from '../../engine/model/open.ts';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import { packing } from '../../engine/native/packing.ts';
import { exportGguf } from '../../engine/package/export-gguf.ts';
import { openPackage } from '../../engine/package/open.ts';
import { predictGguf } from '../../engine/package/predict-gguf.ts';
import { resolveRecipe } from '../../engine/quantize/resolve-recipe.ts';
import { recipeBeforehand } from '../../engine/service/tasks/recipe-beforehand.ts';
import { bundled } from '../assets.ts';
import { packSymmetric, tinyModelOfWidth64 } from './package-export-support.ts';
import { tinyModels } from './package-support.ts';

const root = mkdtempSync(path.join(tmpdir(), 'dbell-predict-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** `general.name` is not known before there is a package; the header is padded to 32 bytes. */
const nameBytes = 64;

async function predicted(
  model: string,
  recipe: string,
  set: Record<string, string> = {},
  embeddingBits: 16 | 8 | 6 | 4 = 16,
) {
  const source = await openModel(model);
  try {
    const { family } = source.architecture;
    return predictGguf(source, resolveRecipe(recipe, set, undefined, family), embeddingBits);
  } finally {
    source.close();
  }
}

describe('the size of a GGUF is known before there is a package', () => {
  test.each([
    ['llama-attention-bias', 16],
    ['llama-rope-llama3', 8],
    ['llama-untied', 6],
    ['qwen2', 4],
    ['qwen3', 16],
    ['mistral', 8],
  ] as const)('of %s with an embedding at %d bits', async (name, embeddingBits) => {
    const model = tinyModelOfWidth64(name, path.join(root, `${name}-model`), new SeededRandom(4));
    const folder = await packSymmetric(model, path.join(root, name), 4, {
      embeddingBits,
      // As gptq-2 has: then every layer is a Q4_1.
      edit: ({ linears }) => {
        for (const linear of linears)
          if (linear.layout === 'grid')
            linear.offsets = packing.floatsToHalfs(
              Float32Array.from({ length: linear.scales.length }, (_, index) => 0.01 + index / 4096),
            ).halfs;
      },
    });
    const opened = await openPackage(folder);
    const { bytes } = await exportGguf(opened, path.join(root, `${name}.gguf`));
    opened.close();
    const prediction = await predicted(model, 'gptq-2', {}, embeddingBits);
    expect(prediction.problem).toBeNull();
    expect(Math.abs((prediction.bytes ?? 0) - bytes)).toBeLessThanOrEqual(nameBytes);
  });

  test.each<[string, Record<string, string>, string]>([
    ['dbellquant', {}, 'structured layout'],
    ['billm', {}, 'structured layout'],
    ['rtn-8', {}, 'its 256 levels are more than the 16'],
    ['grid-4', {}, 'scales of single columns'],
    ['grid-4+residual-5', {}, 'residual columns'],
  ])('no package of %s can be exported, and that is said', async (recipe, set, reason) => {
    const { bytes, problem } = await predicted(bundled.model, recipe, set);
    expect(bytes).toBeNull();
    expect(problem).toContain(reason);
  });

  test.each<[string, string, Record<string, string>, string]>([
    [bundled.model, 'grid-4', {}, 'set columnScale=folded (or none) where an export is wanted'],
    [
      bundled.model,
      'grid-4+residual-5',
      {},
      'cannot be exported to GGUF: GGUF has no counterpart of residual columns',
    ],
    [path.join(tinyModels, 'llama-plain'), 'grid-4', {}, 'cannot be exported to GGUF: layers of 48 columns'],
    [
      path.join(tinyModels, 'llama-plain'),
      'grid-4',
      { columnScale: 'none' },
      'no multiple of 32, do not fill',
    ],
    [path.join(tinyModels, 'opt-relu'), 'grid-4', {}, 'llama.cpp has no models of the family opt'],
  ])(
    'the note on %s, %s with %j blames a setting only where nothing else is in the way',
    async (model, name, set, words) => {
      const source = await openModel(model);
      const recipe = resolveRecipe(name, set, undefined, source.architecture.family);
      const { gguf, notes } = recipeBeforehand(source, recipe, 16);
      source.close();
      const said = notesInWords(notes, gguf);
      expect(said).toHaveLength(1);
      expect(said[0]).toContain(words);
      expect(/columnScale/.test(said[0]!)).toBe(/columnScale/.test(words));
    },
  );

  test('but for grids, whose type follows from the scales that are found', async () => {
    expect(await predicted(bundled.model, 'grid-4', { columnScale: 'folded' })).toEqual({
      bytes: null,
      problem: null,
      asHalf: true,
    });
  });

  test('and what llama.cpp has no models of is said', async () => {
    const opt = await predicted(path.join(tinyModels, 'opt-relu'), 'gptq-4');
    expect(opt).toMatchObject({ problem: 'llama.cpp has no models of the family opt', asHalf: false });
    expect(notesInWords([], opt).join()).not.toContain('f16');
    const odd = await predicted(path.join(tinyModels, 'llama-plain'), 'gptq-4');
    expect(odd).toMatchObject({ problem: expect.stringContaining('no multiple of 32'), asHalf: true });
    expect(notesInWords([], odd).join()).toContain('dequantized to 16 bits a weight it can');
  });
});
