import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { createFloatEngine } from '../../engine/float/engine.ts';
import { linearsOf } from '../../engine/model/architecture.ts';
import { openModel } from '../../engine/model/open.ts';
import { channelWeights } from '../../engine/package/channel-weights.ts';
import { openPackage } from '../../engine/package/open.ts';
import { createPackageSink } from '../../engine/package/sink.ts';
import { quantize } from '../../engine/quantize/pipeline.ts';
import type { Recipe } from '../../engine/quantize/recipe.ts';
import { resolveRecipe } from '../../engine/quantize/resolve-recipe.ts';
import { finishOptions, packTinyModel, roundedBlocks, testRecipe, tinyModels } from './package-support.ts';
import { randomWindows } from './quantize-support.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-channels-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const modelPath = (name: string) => path.join(tinyModels, name);

/** Column scales folded into norms where there is one, kept beside the weights elsewhere. */
async function packTransformed(name: string): Promise<string> {
  const out = path.join(folder, `transformed-${name}`);
  const source = await openModel(modelPath(name));
  const sink = createPackageSink({ workDirectory: `${out}.partial`, outputDirectory: out });
  for (const block of roundedBlocks(source, { transform: true })) sink.writeBlock(block);
  const recipe: Recipe = { ...testRecipe, transform: resolveRecipe('dbellquant', {}, 8, 'llama').transform };
  await sink.finish({ ...finishOptions(source), recipe });
  source.close();
  return out;
}

async function packFolded(name: string): Promise<string> {
  const out = path.join(folder, `folded-${name}`);
  const source = await openModel(modelPath(name));
  const { architecture } = source;
  await quantize({
    source,
    engine: await createFloatEngine(source, { threads: 1 }),
    recipe: resolveRecipe('grid-4', { columnScale: 'folded' }, 8, architecture.family),
    windows: randomWindows(architecture.vocabularySize, 3, 24),
    embeddingBits: 16,
    sink: createPackageSink({ workDirectory: `${out}.partial`, outputDirectory: out }),
    workDirectory: `${out}.partial`,
    seed: 0,
    threads: 1,
  });
  source.close();
  return out;
}

/** Squared errors of all channels of a layer, put together: what quality.json states for the layer. */
async function layerErrors(packagePath: string, name: string, axis: 'row' | 'column') {
  const [opened, source] = [await openPackage(packagePath), await openModel(modelPath(name))];
  const layers: { name: string; summed: number; stated: number; isFitted: boolean }[] = [];
  for (const linear of linearsOf(source.architecture.blocks[0]!)) {
    const weight = source.readFloat32(`${linear.name}.weight`);
    const { inFeatures, outFeatures } = linear;
    let error = 0;
    let isFitted = false;
    for (let index = 0; index < (axis === 'row' ? outFeatures : inFeatures); index++) {
      const found = channelWeights(opened, source, { layer: linear.name, axis, index });
      let norm = 0;
      for (const [at, value] of weight.entries())
        if ((axis === 'row' ? Math.floor(at / inFeatures) : at % inFeatures) === index) norm += value * value;
      error += found.relativeError * norm;
      isFitted ||= found.isFitted;
      const count = axis === 'row' ? inFeatures : outFeatures;
      for (const { counts } of [found.original, found.packed])
        expect(counts.reduce((sum, each) => sum + each, 0)).toBe(count);
      expect(found.packed).toMatchObject({
        minimum: found.original.minimum,
        maximum: found.original.maximum,
      });
    }
    const total = weight.reduce((sum, value) => sum + value * value, 0);
    const stated = opened.quality.layers.find((layer) => layer.name === linear.name)!.weightRelativeError;
    layers.push({ name: linear.name, summed: error / total, stated, isFitted });
  }
  source.close();
  opened.close();
  return layers;
}

describe('the weights of a channel, before and after', () => {
  test.each([
    ['llama-plain', 'row'],
    ['llama-plain', 'column'],
    ['llama-odd-widths', 'row'],
    ['opt-relu', 'column'],
  ] as const)('of %s by %s add up to the error of the layer, scales folded and kept', async (name, axis) => {
    for (const { summed, stated, isFitted } of await layerErrors(
      await packTransformed(`${name}`),
      name,
      axis,
    )) {
      expect(summed).toBeCloseTo(stated, 4);
      expect(isFitted).toBe(false);
    }
  });

  test('of factors that were folded into other layers are fitted, and say so', async () => {
    const layers = await layerErrors(await packFolded('llama-plain'), 'llama-plain', 'row');
    expect(layers.filter(({ isFitted }) => isFitted).map(({ name }) => name.split('.').at(-1))).toEqual([
      'v_proj',
      'o_proj',
      'up_proj',
      'down_proj',
    ]);
    for (const { summed, stated } of layers) expect(summed).toBeLessThanOrEqual(stated * 1.01 + 1e-6);
  });

  test('are refused for another model, a layer or a channel that is not there', async () => {
    const opened = await openPackage(await packTinyModel('llama-untied', path.join(folder, 'refused')));
    const [source, other] = [
      await openModel(modelPath('llama-untied')),
      await openModel(modelPath('opt-relu')),
    ];
    const layer = linearsOf(source.architecture.blocks[0]!)[0]!;
    const channel = { layer: layer.name, axis: 'row' as const, index: 0 };
    expect(() => channelWeights(opened, other, channel)).toThrow('was not made from');
    expect(() => channelWeights(opened, source, { ...channel, layer: 'model.x' })).toThrow(
      'has no quantized layer model.x',
    );
    expect(() => channelWeights(opened, source, { ...channel, index: layer.outFeatures })).toThrow(
      `has ${layer.outFeatures} rows; there is no row ${layer.outFeatures}`,
    );
    for (const each of [opened, source, other]) each.close();
  });
});
