import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { readTokenWindows } from '../../engine/calibration/read-windows.ts';
import { createFloatTextModel } from '../../engine/float/text-model.ts';
import { openModel } from '../../engine/model/open.ts';
import { createTokenizer } from '../../engine/model/tokenizer-huggingface.ts';
import { numerics } from '../../engine/native/numerics.ts';
import { openPackage } from '../../engine/package/open.ts';
import type { QuantizedLinear } from '../../engine/quantize/quantized-linear.ts';
import { createPackedTextModel } from '../../engine/runtime/packed-text-model.ts';
import { asset, bundled } from '../assets.ts';
import { finishOptions, writeBlocks } from './package-support.ts';
import { mean, relativeError } from './runtime-support.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-runtime-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** 33 windows of 512 are more than 16,000 tokens; by default a few, since the full-precision side takes its time. */
const windowTokens = process.env.DBELL_FULL_SIZE === '1' ? 33 * 512 : 512;

/**
 * One activation that falls on the other side of a rounding border moves all that follows by about its rounding error, so losses of single tokens differ by some
 * hundredths (8 bits) or a tenth (6 bits) of a nat, at random: the mean over many must be zero within its standard error, or within what is asked for at full size.
 */
const meanLossTolerance = (standardError: number): number => Math.max(0.002, 4 * standardError);
const largestDeviation = { 16: 1e-3, 8: 0.15, 6: 0.5 };

interface Subject {
  label: string;
  model: string | null;
  text: string;
  context: number;
  embeddingBits: 16 | 8 | 6 | 4;
  /** Bits of a uniform grid, or BiLLM's four levels. */
  bits: number | 'structured';
}
const stories = { model: bundled.model, text: bundled.validationText, context: 512 };
const opt = {
  model: asset('models/tinystories-instruct-3m-gptneo/hf-opt'),
  text: bundled.validationText,
  context: 256,
};
const subjects: Subject[] = [
  { label: 'stories-7m, structured', ...stories, embeddingBits: 16, bits: 'structured' },
  { label: 'stories-7m, 1 bit', ...stories, embeddingBits: 16, bits: 1 },
  { label: 'stories-7m, 3 bits, 8-bit tables', ...stories, embeddingBits: 8, bits: 3 },
  { label: 'stories-7m, 4 bits, 6-bit tables', ...stories, embeddingBits: 6, bits: 4 },
  { label: 'stories-7m, 8 bits, 4-bit tables', ...stories, embeddingBits: 4, bits: 8 },
  { label: 'stories-7m, 8 bits', ...stories, embeddingBits: 16, bits: 8 },
  { label: 'OPT, structured, 8-bit tables', ...opt, embeddingBits: 8, bits: 'structured' },
];

/** Without error compensation: what is compared is how the same stored values run, not how good they are. */
function quantize(linear: QuantizedLinear, weight: Float32Array, bits: Subject['bits']): QuantizedLinear {
  const { name, outFeatures, inFeatures, bias } = linear;
  const base = { name, outFeatures, inFeatures, bias, columnScale: null };
  const common = { compensation: 'none', blockSize: 128 } as const;
  if (bits !== 'structured') {
    const made = numerics.quantizeUniform(weight, outFeatures, inFeatures, null, { bits, ...common });
    return { ...base, layout: 'grid', levels: 2 ** bits, ...made, residual: null };
  }
  const made = numerics.quantizeStructured(weight, outFeatures, inFeatures, null, {
    ...common,
    importance: 'magnitude',
    searchOn: 'weight',
    maximumSalientColumns: 30,
    splitPercentiles: { first: 10, last: 90, count: 9 },
    percentilesOver: 'non-salient',
  });
  return { ...base, layout: 'structured', ...made };
}

describe.each(subjects)('$label', ({ label, model, text, context, embeddingBits, bits }) => {
  test.skipIf(model === null)('packed runs as full precision with the dequantized weights', async () => {
    const source = await openModel(model!);
    const options = {
      embeddingBits,
      levels: 2,
      edit: (block: { linears: QuantizedLinear[] }) => {
        block.linears = block.linears.map((linear) =>
          quantize(linear, source.readFloat32(`${linear.name}.weight`), bits),
        );
      },
    };
    const out = path.join(folder, label.replaceAll(/\W/g, ''));
    await writeBlocks(source, out, options).finish(finishOptions(source, options));
    const tokenizer = createTokenizer(source.tokenizer);
    const { ids } = await readTokenWindows(text, tokenizer, {
      context,
      choice: { kind: 'first', count: windowTokens / context },
      separatorId: 0,
    });
    const windows = Array.from({ length: windowTokens / context }, (_, index) =>
      ids.subarray(index * context, (index + 1) * context),
    );
    source.close();
    const packedSource = await openPackage(out);
    for (const activationBits of [16, 8, 6] as const) {
      const packed = await createPackedTextModel(packedSource, { threads: 2, activationBits });
      const float = await createFloatTextModel(packedSource.asModelSource(), {
        threads: 2,
        activationBits,
        activationScales: packedSource.activationScales,
        headActivationBits: embeddingBits === 16 ? 16 : 8,
      });
      const packedSession = await packed.createSession();
      const floatSession = await float.createSession();
      const differences: number[] = [];
      for (const window of windows) {
        const losses = await packedSession.tokenLosses(window);
        const expected = await floatSession.tokenLosses(window);
        differences.push(...losses.map((loss, index) => loss - expected[index]!));
      }
      const deviation = Math.sqrt(mean(differences.map((value) => value ** 2)));
      expect(deviation).toBeLessThan(largestDeviation[activationBits]);
      const tolerance =
        activationBits === 16 ? 1e-5 : meanLossTolerance(deviation / Math.sqrt(differences.length));
      expect(Math.abs(mean(differences))).toBeLessThan(tolerance);
      const prompt = windows[0]!.subarray(0, 100);
      const logitError = relativeError(await packedSession.feed(prompt), await floatSession.feed(prompt));
      if (activationBits === 16) expect(logitError).toBeLessThan(1e-3);
      await packed.close();
      await float.close();
    }
    packedSource.close();
  });
});
