import { readdirSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createFloatEngine } from '../../engine/float/engine.ts';
import { openModel } from '../../engine/model/open.ts';
import { openPackage } from '../../engine/package/open.ts';
import { createPackageSink } from '../../engine/package/sink.ts';
import type { PackageSource } from '../../engine/package/types.ts';
import { verifyPackage } from '../../engine/package/verify.ts';
import { headDamping, tiedLookupWeight } from '../../engine/quantize/limits.ts';
import { quantize } from '../../engine/quantize/pipeline.ts';
import { resolveRecipe } from '../../engine/quantize/resolve-recipe.ts';
import { fakeQuantizeRow, ReferenceModel } from '../reference/float-block.ts';
import { randomWindows, temporaryFolder, tinyModelPath } from './quantize-support.ts';

let folder: ReturnType<typeof temporaryFolder>;
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => folder.remove());

const windowCount = 3;
const context = 48;

async function pack(name: string, recipeName: string, embeddingBits: 8 | 6 | 4): Promise<string> {
  const source = await openModel(tinyModelPath(name));
  const engine = await createFloatEngine(source, { threads: 1 });
  const out = path.join(folder.path, `${name}-${recipeName}-${embeddingBits}`);
  const workDirectory = `${out}.partial`;
  const { architecture } = source;
  await quantize({
    source,
    engine,
    recipe: resolveRecipe(recipeName, {}, 16, architecture.family),
    windows: randomWindows(architecture.vocabularySize, windowCount, context),
    embeddingBits,
    sink: createPackageSink({ workDirectory, outputDirectory: out }),
    workDirectory,
    seed: 0,
    threads: 1,
  });
  await engine.close();
  source.close();
  return out;
}

/** M, from the package's own blocks run in plain arithmetic on the source's embeddings. */
async function plainMetric(name: string, opened: PackageSource): Promise<number[][]> {
  const source = await openModel(tinyModelPath(name));
  const { architecture } = source;
  const original = new ReferenceModel(source);
  const quantized = new ReferenceModel(opened.asModelSource());
  const { ids } = randomWindows(architecture.vocabularySize, windowCount, context);
  const size = architecture.embedding.embeddingSize;
  const gram = Array.from({ length: size }, () => new Array<number>(size).fill(0));
  for (let begin = 0; begin < ids.length; begin += context) {
    let hidden = original.embed(ids.subarray(begin, begin + context));
    for (const block of architecture.blocks) hidden = quantized.block(block.index, hidden).out;
    for (const row of original.headInput(hidden)) {
      const x = fakeQuantizeRow(row, 8);
      for (let i = 0; i < size; i += 1) for (let j = 0; j < size; j += 1) gram[i]![j]! += x[i]! * x[j]!;
    }
  }
  source.close();
  const mean = gram.reduce((sum, row, i) => sum + row[i]!, 0) / size;
  const lambda = architecture.head.tied ? tiedLookupWeight : headDamping;
  return gram.map((row, i) => row.map((value, j) => value / mean + (i === j ? lambda : 0)));
}

/** tr(A M Aᵀ), A `[rows, size]` row-major. */
function weighted(a: Float32Array, metric: number[][]): number {
  const size = metric.length;
  let sum = 0;
  for (let begin = 0; begin < a.length; begin += size)
    for (let i = 0; i < size; i += 1)
      for (let j = 0; j < size; j += 1) sum += a[begin + i]! * metric[i]![j]! * a[begin + j]!;
  return sum;
}

describe('the table of the head', () => {
  it.each([
    ['llama-odd-widths', 4],
    ['llama-untied', 6],
    ['opt-post-norm-projected', 4],
  ] as const)('of %s at %d bits is fitted to the inputs of the quantized model', async (name, bits) => {
    const out = await pack(name, 'gptq-4', bits);
    const opened = await openPackage(out);
    const source = await openModel(tinyModelPath(name));
    const { head, embedding } = source.architecture;
    const metric = await plainMetric(name, opened);
    const weights = source.readFloat32(head.weight);
    const errorIn = (stored: Float32Array) =>
      weighted(
        weights.map((value, index) => value - stored[index]!),
        metric,
      ) / weighted(weights, metric);
    const error = errorIn(opened.readFloat32(head.weight));
    const quality = opened.quality.tables!.find((table) => table.name === head.weight)!;
    expect(quality.method).toBe('compensated');
    expect(Math.abs(quality.relativeError! - error)).toBeLessThan(0.02 * error);

    const rounded = await openPackage(await pack(name, 'rtn-4', bits));
    expect(error).toBeLessThan((head.tied ? 0.92 : 0.75) * errorIn(rounded.readFloat32(head.weight)));
    expect(rounded.quality.tables!.every(({ method }) => method === 'rounded')).toBe(true);
    // An embedding of its own is looked up, not multiplied: it is rounded.
    if (!head.tied) expect(opened.readFloat32(embedding.table)).toEqual(rounded.readFloat32(embedding.table));
    rounded.close();
    opened.close();
    expect(await verifyPackage(out, { against: source })).toMatchObject({ ok: true, problems: [] });
    source.close();
    expect(readdirSync(folder.path).filter((entry) => entry.endsWith('.partial'))).toEqual([]);
  });

  it('is rounded at 8 bits', async () => {
    const opened = await openPackage(await pack('llama-plain', 'gptq-4', 8));
    expect(opened.quality.tables).toMatchObject([{ method: 'rounded', relativeError: null }]);
    opened.close();
  });
});
