import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import { openPackage } from '../../engine/package/open.ts';
import type { PackageSource } from '../../engine/package/types.ts';
import type { QuantizedLinear } from '../../engine/quantize/quantized-linear.ts';
import { RuntimeVerification } from '../../engine/runtime/verification.ts';
import type { GpuVerification } from '../../engine/runtime/webgpu/verification.ts';
import {
  maskedSums,
  quantizeTokens,
  residualSums,
  scaleColumns,
} from '../../scripts/acceptance/agreement-plain.ts';
import { blockScaledProducts, quantizeTokenBlocks } from './block-scales-plain.ts';
import {
  commonLinearKinds,
  type LinearKind,
  packTinyModel,
  randomLinear,
  signedUniform,
} from './package-support.ts';
import { relativeError } from './runtime-support.ts';
import { writeWideModel } from './wide-model.ts';

/** What is checked, wherever it runs: in this process, or in a browser's page. */
export type GpuCheck = Pick<
  GpuVerification,
  'maskedSums' | 'residualSums' | 'linearForward' | 'quantizeActivations'
>;

/** With the packed dot product, on the plain path (there with subgroups), and with weights cut into several buffers. */
export const checkOptions = {
  dot: {},
  plain: { packedDot: false, smallestSubgroup: 4 },
  cut: { maximumWeightBytes: 6500 },
} as const;
export type CheckWay = keyof typeof checkOptions;

/** Kinds that go all ways, one of each way of storing codes; the others go the first. */
const everyWay = [
  '2 levels',
  '3 levels',
  '256 levels',
  '3 levels with residual',
  'structured with bias and column scale',
  '3 levels, activation scales by block',
  '256 levels and offsets, scales by block',
];
const waysOf = (label: string) =>
  everyWay.includes(label) ? (Object.keys(checkOptions) as CheckWay[]) : (['dot'] as const);

const kinds: (LinearKind & { label: string; small?: true })[] = [
  ...commonLinearKinds,
  // Matrices of 40 and 43 columns: one block, strips of base 3 of every size.
  { label: '3 levels, small', layout: 'grid', levels: 3, small: true },
  { label: '3 levels with residual', layout: 'grid', levels: 3, residualShare: 0.6, bias: true },
  {
    label: '3 levels, small, scales by block',
    layout: 'grid',
    levels: 3,
    columnScale: true,
    activationScales: 'block',
    small: true,
  },
  {
    label: '256 levels and offsets, scales by block',
    layout: 'grid',
    levels: 256,
    offsets: true,
    bias: true,
    activationScales: 'block',
  },
];

/** Every way of storing a linear, on random and extreme inputs of odd widths, against a plain reference and the CPU. `open` makes a package ready in one of the ways. */
export function describeGpuLinears(
  isThere: boolean,
  open: (way: CheckWay, source: PackageSource) => Promise<GpuCheck>,
): void {
  const folder = mkdtempSync(path.join(tmpdir(), 'dbell-gpu-linears-'));
  beforeAll(() => writeWideModel(path.join(folder, 'wide')));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  describe.skipIf(!isThere).each(kinds)('$label', (kind) => {
    let source: PackageSource;
    let cpu: RuntimeVerification;
    const checks = new Map<string, GpuCheck>();
    const linears: QuantizedLinear[] = [];
    const random = new SeededRandom(11);

    beforeAll(async () => {
      const model = kind.small ? 'llama-odd-widths' : path.join(folder, 'wide');
      const out = await packTinyModel(model, path.join(folder, kind.label.replaceAll(/\W+/g, '-')), {
        activationScales: kind.activationScales,
        edit(block) {
          const scales = new Map<string, Float32Array | null>();
          block.linears = block.linears.map((original) => {
            const made = randomLinear(original.name, original.outFeatures, original.inFeatures, kind, random);
            // Linears that read the same input have one column scale.
            const stage = original.name.replace(/[kv]_proj/, 'q_proj').replace('up_proj', 'gate_proj');
            if (!scales.has(stage)) scales.set(stage, made.columnScale);
            linears.push({ ...made, bias: original.bias, columnScale: scales.get(stage)! });
            return linears.at(-1)!;
          });
        },
      });
      source = await openPackage(out);
      cpu = new RuntimeVerification(source);
      for (const way of waysOf(kind.label)) checks.set(way, await open(way, source));
    });
    afterAll(() => {
      cpu?.close();
      source?.close();
    });

    /** Shapes that differ: square, more rows, more columns. */
    const chosen = () => linears.filter(({ name }) => /layers\.0.*(q|gate|down)_proj/.test(name));

    test.each(waysOf(kind.label))('integer sums are exact (%s)', async (way) => {
      const check = checks.get(way)!;
      for (const linear of chosen())
        for (const [tokens, fill] of [
          [1, null],
          [13, null],
          [2, -127],
          // Tiles through workgroup memory, the last one not full.
          [37, null],
        ] as const) {
          const values = Int8Array.from(
            { length: tokens * linear.inFeatures },
            () => fill ?? (random.nextUint32() % 255) - 127,
          );
          expect(await check.maskedSums(linear.name, values), linear.name).toEqual(
            maskedSums(values, linear),
          );
          if (linear.layout !== 'grid' || !linear.residual) continue;
          const expected = residualSums(values, linear, linear.residual);
          expect(await check.residualSums(linear.name, values), linear.name).toEqual(expected);
        }
    });

    test.each([8, 6, 4] as const)('activations of %d bits are rounded as defined', async (bits) => {
      for (const { name, inFeatures, columnScale } of chosen()) {
        const x = Float32Array.from({ length: 3 * inFeatures }, () => 3 * signedUniform(random));
        x.fill(0, inFeatures, 2 * inFeatures);
        // A block of zeros, and one of small values, beside others.
        x.fill(0, 2 * inFeatures, 2 * inFeatures + Math.min(inFeatures, 128));
        for (let column = 128; column < Math.min(inFeatures, 256); column++) x[column]! *= 1e-4;
        const { values, scales } = await checks.get('dot')!.quantizeActivations(name, x, bits);
        const quantize = kind.activationScales === 'block' ? quantizeTokenBlocks : quantizeTokens;
        const expected = quantize(scaleColumns(x, columnScale), inFeatures, bits);
        expect(scales).toEqual(expected.scales);
        expect(values).toEqual(expected.values);
      }
    });

    test.each(waysOf(kind.label))('products equal those of the CPU (%s)', async (way) => {
      for (const linear of chosen())
        for (const [tokens, bits] of [
          [1, 8],
          [11, 8],
          [3, 6],
          [5, 4],
          [1, 16],
          [11, 16],
          [37, 8],
          [37, 16],
        ] as const) {
          const { name, inFeatures, columnScale } = linear;
          const x = Float32Array.from({ length: tokens * inFeatures }, () => signedUniform(random));
          const y = await checks.get(way)!.linearForward(name, x, bits);
          const expected = cpu.linearForward(name, x, bits);
          if (bits === 16) expect(relativeError(y, expected), name).toBeLessThan(2e-6);
          else expect(y, `${name} ${bits}`).toEqual(expected);
          if (bits === 16 || kind.activationScales !== 'block' || linear.layout !== 'grid') continue;
          const rounded = quantizeTokenBlocks(scaleColumns(x, columnScale), inFeatures, bits);
          expect(y, `${name} ${bits}`).toEqual(blockScaledProducts(linear, rounded));
        }
    });
  });
}
