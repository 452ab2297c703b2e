import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { createFloatTextModel } from '../../engine/float/text-model.ts';
import { openPackage } from '../../engine/package/open.ts';
import type { PackageSource } from '../../engine/package/types.ts';
import { createPackedTextModel } from '../../engine/runtime/packed-text-model.ts';
import { packTinyModel, tinyModels } from './package-support.ts';
import { mean, relativeError } from './runtime-support.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-runtime-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** 128 ids stored with each model. */
function idsOf(name: string): Int32Array {
  const text = readFileSync(path.join(tinyModels, name, 'expected.json'), 'utf8');
  return Int32Array.from((JSON.parse(text) as { ids: number[] }).ids);
}

/** The package in full precision: dequantized weights, the same activation bits, the head's input as the packed runtime has it. */
function floatModelOf(source: PackageSource, activationBits: 16 | 8 | 6 | 4) {
  return createFloatTextModel(source.asModelSource(), {
    threads: 1,
    activationBits,
    activationScales: source.activationScales,
    headActivationBits: source.head.bits === 16 ? 16 : 8,
    blockWeights: (index) => source.dequantizedBlock(index).weights,
    columnScales: (index) => source.dequantizedBlock(index).columnScales,
  });
}

const variants = [
  { label: '16 levels', options: { levels: 16 } },
  {
    label: '5 levels, transformed, 8-bit tables',
    options: { levels: 5, transform: true, embeddingBits: 8 as const },
  },
  { label: '16 levels, 6-bit tables', options: { levels: 16, embeddingBits: 6 as const } },
  {
    label: '3 levels with residual columns, transformed',
    options: { levels: 3, residualShare: 0.2, transform: true },
  },
  { label: '3 levels, 4-bit tables', options: { levels: 3, embeddingBits: 4 as const } },
];

/**
 * At 16 bits only rounding differs. At 8 bits a value on the border between two codes may fall either way; in random models of 128 tokens one such flip is felt,
 * so what is compared closely there is each linear by itself (runtime-linears.test.ts) and long texts (runtime-real-models.test.ts).
 */
const tolerances = { 16: { logits: 1e-5, meanLoss: 1e-5 }, 8: { logits: 0.1, meanLoss: 0.02 } };
/** The same flips, of the head's input alone. */
const quantizedHeadTolerance = { logits: 0.02, meanLoss: 1e-3 };

describe.each(readdirSync(tinyModels))('%s', (name) => {
  test.each(variants)('$label: packed equals full precision', async ({ label, options }) => {
    const out = await packTinyModel(
      name,
      path.join(folder, `${name}-${variants.findIndex((variant) => variant.label === label)}`),
      options,
    );
    const source = await openPackage(out);
    const ids = idsOf(name);
    for (const activationBits of [16, 8] as const) {
      const tolerance =
        activationBits === 16 && source.head.bits !== 16
          ? quantizedHeadTolerance
          : tolerances[activationBits];
      const packed = await createPackedTextModel(source, { threads: 1, activationBits });
      const float = await floatModelOf(source, activationBits);
      const packedSession = await packed.createSession();
      const floatSession = await float.createSession();
      const packedLosses = await packedSession.tokenLosses(ids);
      const floatLosses = await floatSession.tokenLosses(ids);
      expect(Math.abs(mean(packedLosses) - mean(floatLosses))).toBeLessThan(tolerance.meanLoss);
      const packedLogits = await packedSession.feed(ids);
      expect(relativeError(packedLogits, await floatSession.feed(ids))).toBeLessThan(tolerance.logits);
      await float.close();
      await packed.close();
    }
    source.close();
  });
});
