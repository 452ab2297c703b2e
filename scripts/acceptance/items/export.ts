import { readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { openModel } from '../../../engine/model/open.ts';
import { createTokenizer } from '../../../engine/model/tokenizer-huggingface.ts';
import { openPackage } from '../../../engine/package/open.ts';
import { gridOf } from '../../../engine/quantize/as-is.ts';
import { createPackedTextModel } from '../../../engine/runtime/packed-text-model.ts';
import { assets, dbell } from '../command.ts';
import { type Figure, holds, type Item, within } from '../harness.ts';
import { askLlamaCpp, askLlamaCppInFloat, llamaCppFolder, pythonWithLlamaCpp } from '../llama-cpp.ts';
import { packageOf } from '../quantize-and-measure.ts';
import { smollmModel } from './recipes.ts';

interface ExportSetting {
  name: string;
  model: string;
  levels: 2 | 16;
  /** Whether the quantized model's text is so bad that rounding its activations is not small beside it; then that is told and not judged. */
  isTextBroken: boolean;
  calibration: { text: string; windows: number; context: number };
  /** Windows from the beginning of the text, compared token by token. */
  evaluation: { text: string; windows: number; context: number };
}

/** Text that tokenizers of both programs must cut alike. */
const probe = 'The capital of France is Paris. It has 2,102,650 people!\n\n  Isn\'t that "a lot"?';

/** A package without column scales, written as GGUF, loaded by llama.cpp: perplexity beside ours at 16-bit activations. */
async function measureExport(setting: ExportSetting, scratch: string): Promise<Figure[]> {
  const { name, model, levels, calibration, evaluation } = setting;
  const home = path.join(scratch, 'home');
  const { out: folder, figures } = await packageOf({
    ...{ scratch, name: `${name}-folded`, model, recipe: `grid-${levels}`, activationBits: 16 },
    ...{ set: ['columnScale=folded'], calibration, evaluation: { ...evaluation, separator: 'none' } },
  });
  const write = async (file: string, ...options: string[]) => {
    const gguf = path.join(scratch, file);
    rmSync(gguf, { force: true });
    return dbell(['export', folder, '--format', 'gguf', '--out', gguf, ...options], { home });
  };
  const exported = await write(`${name}-grid-${levels}.gguf`);
  const dequantized = await write(`${name}-grid-${levels}-f16.gguf`, '--weights', 'f16');
  figures.push({ name: 'types', measured: Object.keys(exported.types as object).join(', ') });
  const source = await openPackage(folder);
  try {
    const tokenizer = createTokenizer(source.tokenizer, {
      modelVocabularySize: source.architecture.vocabularySize,
    });
    const { windows, context } = evaluation;
    // Ten bytes a token are more than any text has.
    const ids = tokenizer.encode(readFileSync(evaluation.text, 'utf8').slice(0, 10 * windows * context));
    const pieces = Array.from({ length: windows }, (_, i) => ids.slice(i * context, (i + 1) * context));
    const packed = await createPackedTextModel(source, { threads: 0, activationBits: 16 });
    const session = await packed.createSession();
    const losses: number[] = [];
    for (const piece of pieces) {
      session.reset();
      losses.push(...(await session.tokenLosses(Int32Array.from(piece))));
    }
    await packed.close();
    const requestOf = ({ out }: Record<string, unknown>) => ({
      gguf: String(out),
      windows: pieces,
      text: probe,
    });
    const llamaCpp = llamaCppFolder(scratch);
    const answer = await askLlamaCpp(llamaCpp, scratch, requestOf(exported));
    const inFloat = await askLlamaCppInFloat(await pythonWithLlamaCpp(scratch), scratch, requestOf(exported));
    const inHalfs = await askLlamaCpp(llamaCpp, scratch, requestOf(dequantized));
    const ours = perplexity(losses);
    const atEightBits = within(
      'perplexity in llama.cpp, activations rounded to 8 bits (its kernels for the CPU)',
      perplexity(answer.losses.flat()),
      ours,
      0.005,
    );
    figures.push(
      { name: `our perplexity at A16 (${windows} × ${context} tokens)`, measured: ours },
      within(
        'perplexity in llama.cpp, activations in float32 (its BLAS backend)',
        perplexity(inFloat.losses.flat()),
        ours,
        0.005,
      ),
      setting.isTextBroken ? { name: atEightBits.name, measured: atEightBits.measured } : atEightBits,
      within(
        'perplexity in llama.cpp, the same weights as F16',
        perplexity(inHalfs.losses.flat()),
        ours,
        0.005,
      ),
      holds('token ids of a text are the same', answer.ids.join() === tokenizer.encode(probe).join()),
    );
    if (levels === 2)
      figures.push(
        holds('codes and scales come back through as-is', await comesBack(source, String(exported.out))),
      );
  } finally {
    source.close();
  }
  return figures;
}

function perplexity(losses: readonly number[]): number {
  return Math.exp(losses.reduce((sum, loss) => sum + loss, 0) / losses.length);
}

/** Whether the export, read as a natively binary model, has the package's own codes and scales. */
async function comesBack(source: Awaited<ReturnType<typeof openPackage>>, gguf: string): Promise<boolean> {
  const back = await openModel(gguf);
  try {
    for (const [name, { outFeatures, inFeatures }] of source.linears) {
      const ours = source.readLinear(name);
      const weight = back.lowBitWeight?.(`${name}.weight`) ?? null;
      if (weight === null || ours.layout !== 'grid') return false;
      const kept = gridOf({ name, outFeatures, inFeatures, role: 'q', bias: null }, weight, null);
      if (Buffer.compare(kept.codes, ours.codes) !== 0 || kept.scales.join() !== ours.scales.join())
        return false;
    }
    return true;
  } finally {
    back.close();
  }
}

const stories = (levels: 2 | 16): ExportSetting => ({
  name: 'stories',
  model: path.join(assets, 'models/dbell-stories-7m'),
  levels,
  isTextBroken: false,
  calibration: {
    text: path.join(assets, 'data/dbell-stories/stories.train.sample.txt'),
    windows: 96,
    context: 512,
  },
  evaluation: { text: path.join(assets, 'data/dbell-stories/stories.valid.txt'), windows: 8, context: 256 },
});

const smollm = (levels: 2 | 16): ExportSetting => ({
  name: 'smollm',
  model: path.join(assets, smollmModel),
  levels,
  isTextBroken: levels === 2,
  calibration: { text: path.join(assets, 'data/c4-sample/c4_sample.jsonl'), windows: 16, context: 2048 },
  // llama.cpp's binding hands over the probabilities of all 49,152 tokens at every position.
  evaluation: {
    text: path.join(assets, 'data/wikitext-2-raw/wiki.test.joined.txt'),
    windows: 4,
    context: 512,
  },
});

export const exportItems: Item[] = ([2, 16] as const).flatMap((levels) =>
  [stories(levels), smollm(levels)].map((setting) => ({
    id: `export-${setting.name}-grid-${levels}`,
    title: `${setting.name} grid-${levels}, exported as GGUF: llama.cpp's perplexity within 0.5% of ours`,
    run: ({ scratch }) => measureExport(setting, scratch),
  })),
);
