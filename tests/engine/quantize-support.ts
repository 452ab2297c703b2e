import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { readTokenWindows } from '../../engine/calibration/read-windows.ts';
import { fingerprintOf, type TokenWindows } from '../../engine/calibration/windows.ts';
import { createFloatEngine } from '../../engine/float/engine.ts';
import type { ActivationScales, BlockWeights, ColumnScales, FloatEngine } from '../../engine/float/types.ts';
import type { StageName } from '../../engine/model/architecture.ts';
import { openModel } from '../../engine/model/open.ts';
import type { ModelSource } from '../../engine/model/source.ts';
import { createTokenizer } from '../../engine/model/tokenizer-huggingface.ts';
import { dequantize } from '../../engine/quantize/dequantize.ts';
import { type QuantizeOptions, quantize } from '../../engine/quantize/pipeline.ts';
import { activationScalesOf } from '../../engine/quantize/recipe.ts';
import { resolveRecipe } from '../../engine/quantize/resolve-recipe.ts';
import type { PackageSummary, QuantizationSink, QuantizedBlock } from '../../engine/quantize/sink.ts';
import { randomNumbers } from './float-tiny-model.ts';

/** First N windows of a text, separated as reference-values are. */
export function textWindows(
  source: ModelSource,
  textPath: string,
  separatorId: number | null,
  windowCount: number,
  context: number,
): Promise<TokenWindows> {
  return readTokenWindows(textPath, createTokenizer(source.tokenizer), {
    context,
    choice: { kind: 'first', count: windowCount },
    separatorId,
  });
}

/** Windows from ids that lie one after another. */
export function idWindows(ids: number[], windowCount: number, context: number): TokenWindows {
  const used = Int32Array.from(ids.slice(0, windowCount * context));
  if (used.length < windowCount * context) throw new Error('too few ids for these windows');
  return {
    ids: used,
    windowCount,
    context,
    source: {
      name: 'ids',
      textSha256: createHash('sha256').update(used).digest('hex'),
      documentCount: 1,
      cutDocumentCount: 0,
      totalTokens: used.length,
      separatorId: null,
    },
    selection: { kind: 'first' },
    fingerprint: fingerprintOf(used, windowCount, context),
  };
}

/** Windows of ids drawn at random, always the same for the same sizes. */
export function randomWindows(vocabularySize: number, windowCount: number, context: number): TokenWindows {
  const next = randomNumbers(7);
  const ids = Array.from({ length: windowCount * context }, () =>
    Math.floor(((next() + 1) / 2) * vocabularySize),
  );
  return idWindows(ids, windowCount, context);
}

/** Keeps blocks in memory: for tests of what is computed, not of what is stored. */
export class MemorySink implements QuantizationSink {
  readonly blocks = new Map<number, QuantizedBlock>();
  finished = 0;

  storedBlocks(): number[] {
    return [...this.blocks.keys()];
  }

  writeBlock(block: QuantizedBlock): void {
    this.blocks.set(block.index, block);
  }

  async finish(): Promise<PackageSummary> {
    this.finished += 1;
    return { path: 'memory', storedBitsPerWeight: 0, bytes: 0 };
  }
}

/** Perplexity of the model with the given blocks replaced by their quantized versions, on the float path. */
export async function perplexity(
  source: ModelSource,
  engine: FloatEngine,
  windows: TokenWindows,
  quantized: ReadonlyMap<number, QuantizedBlock>,
  activationBits: 16 | 8 | 6 | 4,
  activationScales: ActivationScales,
): Promise<number> {
  const runner = await engine.blockRunner(windows.context);
  const window = (index: number): Int32Array =>
    windows.ids.subarray(index * windows.context, (index + 1) * windows.context);
  const hidden = Array.from({ length: windows.windowCount }, (_, index) => engine.embed(window(index)));
  for (const block of source.architecture.blocks) {
    const weights: BlockWeights = engine.loadBlock(block.index);
    const columnScales: ColumnScales = {};
    const stored = quantized.get(block.index);
    for (const [name, tensor] of stored?.floatTensors ?? []) weights.set(name, tensor.values);
    for (const linear of stored?.linears ?? []) {
      weights.set(`${linear.name}.weight`, dequantize(linear));
      const stage = block.stages.find((each) => each.linears.some((member) => member.name === linear.name));
      if (stage && linear.columnScale) columnScales[stage.name satisfies StageName] = linear.columnScale;
    }
    const bits = stored ? activationBits : 16;
    for (const [index, state] of hidden.entries()) {
      hidden[index] = await runner.forward(block.index, weights, state, {
        activationBits: bits,
        activationScales,
        columnScales,
      });
    }
  }
  let total = 0;
  let count = 0;
  for (const [index, state] of hidden.entries()) {
    const losses = await engine.tokenLosses(state, window(index));
    for (const loss of losses) total += loss;
    count += losses.length;
  }
  return Math.exp(total / count);
}

export function temporaryFolder(): { path: string; remove(): void } {
  const folder = mkdtempSync(path.join(tmpdir(), 'dbell-quantize-'));
  return { path: folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** Quantizes a model folder into memory. */
export async function quantizeInMemory(
  modelPath: string,
  settings: {
    recipe: string;
    set?: Record<string, string>;
    activationBits?: 16 | 8 | 6 | 4;
    windows(source: ModelSource): Promise<TokenWindows> | TokenWindows | null;
    evaluation?(source: ModelSource): Promise<TokenWindows>;
  } & Partial<Pick<QuantizeOptions, 'onProgress' | 'onWarning' | 'collectHistograms' | 'threads'>>,
): Promise<{ sink: MemorySink; perplexity: number | null; durationMs: number }> {
  const source = await openModel(modelPath);
  const threads = settings.threads ?? 2;
  const engine = await createFloatEngine(source, { threads });
  const folder = temporaryFolder();
  try {
    const activationBits = settings.activationBits ?? 16;
    const recipe = resolveRecipe(
      settings.recipe,
      settings.set ?? {},
      activationBits,
      source.architecture.family,
    );
    const sink = new MemorySink();
    const started = performance.now();
    await quantize({
      ...settings,
      source,
      windows: await settings.windows(source),
      recipe,
      embeddingBits: 16,
      engine,
      sink,
      workDirectory: path.join(folder.path, 'out.partial'),
      seed: 0,
      threads,
    });
    const durationMs = performance.now() - started;
    const evaluation = await settings.evaluation?.(source);
    return {
      sink,
      durationMs,
      perplexity: evaluation
        ? await perplexity(
            source,
            engine,
            evaluation,
            sink.blocks,
            activationBits,
            activationScalesOf(recipe),
          )
        : null,
    };
  } finally {
    await engine.close();
    source.close();
    folder.remove();
  }
}

/** Folder of a tiny random model with that option (tests/fixtures/model/README.md). */
export function tinyModelPath(name: string): string {
  return path.resolve(import.meta.dirname, '..', 'fixtures', 'model', 'tiny', name);
}
