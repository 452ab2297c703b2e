import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { createFloatEngine } from '../../engine/float/engine.ts';
import { openModel } from '../../engine/model/open.ts';
import { createPackageSink } from '../../engine/package/sink.ts';
import { estimateQuantization, measureSpeed } from '../../engine/quantize/estimate.ts';
import { quantize } from '../../engine/quantize/pipeline.ts';
import { resolveRecipe } from '../../engine/quantize/resolve-recipe.ts';
import { bundled } from '../assets.ts';
import { randomWindows, temporaryFolder, tinyModelPath } from './quantize-support.ts';

describe('estimate', () => {
  it.each([
    ['llama-odd-widths', 'gptq-3', 8],
    ['llama-untied', 'billm', 16],
    ['qwen2', 'rtn-1', 8],
    ['opt-post-norm-projected', 'gptq-2', 16],
    ['opt-relu', 'billm', 8],
    ['llama-odd-widths', 'gptq-3', 6],
    ['mistral', 'gptq-4', 4],
  ] as const)(
    'of %s with %s equals the stored bits of the package',
    async (name, recipeName, embeddingBits) => {
      const folder = temporaryFolder();
      const source = await openModel(tinyModelPath(name));
      const engine = await createFloatEngine(source, { threads: 1 });
      const { architecture } = source;
      const recipe = resolveRecipe(recipeName, {}, 16, architecture.family);
      const windows = randomWindows(architecture.vocabularySize, 2, 16);
      const outputDirectory = path.join(folder.path, 'out');
      const workDirectory = `${outputDirectory}.partial`;
      const sink = createPackageSink({ workDirectory, outputDirectory });
      const options = {
        source,
        engine,
        recipe,
        windows,
        embeddingBits,
        sink,
        workDirectory,
        seed: 0,
        threads: 1,
      };
      const { summary } = await quantize(options);
      const estimate = estimateQuantization({
        architecture,
        recipe,
        embeddingBits,
        windowCount: 2,
        context: 16,
        threads: 1,
      });
      expect(estimate.storedBitsPerWeight).toBe(summary.storedBitsPerWeight);
      // The header's length depends on names; all else is known from the format.
      const modelBytes = statSync(path.join(outputDirectory, 'model.safetensors')).size;
      expect(estimate.packageBytes.total).toBeLessThanOrEqual(modelBytes);
      expect(modelBytes - estimate.packageBytes.total).toBeLessThan(24_000);
      expect(readdirSync(folder.path)).toEqual(['out']);
      await engine.close();
      source.close();
      folder.remove();
    },
  );

  it('itemises what the bundled model needs, and widens where speed is only assumed', async () => {
    const source = await openModel(bundled.model);
    const engine = await createFloatEngine(source, { threads: 1 });
    const { architecture } = source;
    const inputs = {
      architecture,
      recipe: resolveRecipe('dbellquant', {}, 8, architecture.family),
      embeddingBits: 16 as const,
      windowCount: 64,
      context: 512,
      threads: 1,
    };
    const assumed = estimateQuantization(inputs);
    const operationsPerSecond = await measureSpeed(engine, architecture, 128);
    const measured = estimateQuantization({ ...inputs, operationsPerSecond });
    expect(assumed.timeMs.basis).toBe('assumed');
    expect(measured.timeMs.basis).toBe('measured');
    const spread = (time: typeof assumed.timeMs) => time.high / time.low;
    expect(spread(assumed.timeMs)).toBeGreaterThan(spread(measured.timeMs));
    expect(measured.timeMs.low).toBeLessThan(measured.timeMs.expected);
    // Two streams of two generations: 64 × 512 × 256 float32.
    expect(assumed.diskBytes.hiddenStates).toBe(4 * 64 * 512 * 256 * 4);
    const { total, ...parts } = assumed.memoryBytes;
    expect(Object.values(parts).reduce((sum, bytes) => sum + bytes, 0)).toBe(total);
    expect(total).toBeLessThan(500e6);
    await engine.close();
    source.close();
  });
});
