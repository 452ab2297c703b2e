import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { linearsOf } from '../../engine/model/architecture.ts';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import { openPackage } from '../../engine/package/open.ts';
import type { PackageSource } from '../../engine/package/types.ts';
import {
  blockCount,
  columnsPerBlock,
  type GridResidual,
  type QuantizedLinear,
} from '../../engine/quantize/quantized-linear.ts';
import { availableKernels, RuntimeVerification } from '../../engine/runtime/verification.ts';
import {
  commonLinearKinds,
  type LinearKind,
  packTinyModel,
  randomLinear,
  signedUniform,
} from './package-support.ts';
import { dequantizedPlainly, relativeError } from './runtime-support.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-runtime-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const kinds: (LinearKind & { label: string; model?: string })[] = [
  ...commonLinearKinds,
  // Three levels stand in base 3 among those; matrices of 32 columns take no more in planes.
  { label: '3 levels in planes', layout: 'grid', levels: 3, model: 'llama-plain', columnScale: true },
  { label: '3 levels with residual', layout: 'grid', levels: 3, residualShare: 0.5, bias: true },
  { label: '256 levels with offsets', layout: 'grid', levels: 256, offsets: true, columnScale: true },
  { label: '2 levels with row scale', layout: 'grid', levels: 2, rowScale: true, bias: true },
];

/**
 * The integer part from its definition (architecture.md "The packed model"), one product after the other: `[tokens, out, blocks, 1 or 6]`.
 */
function plainMaskedSums(linear: QuantizedLinear, values: Int8Array): Int32Array {
  const { inFeatures, outFeatures, codes } = linear;
  const blocks = blockCount(inFeatures);
  const perBlock = linear.layout === 'grid' ? 1 : 6;
  const tokens = values.length / inFeatures;
  const sums = new Int32Array(tokens * outFeatures * blocks * perBlock);
  for (let token = 0; token < tokens; token += 1)
    for (let row = 0; row < outFeatures; row += 1)
      for (let column = 0; column < inFeatures; column += 1) {
        const x = values[token * inFeatures + column]!;
        const code = codes[row * inFeatures + column]!;
        const at = ((token * outFeatures + row) * blocks + Math.floor(column / 128)) * perBlock;
        if (linear.layout === 'grid') {
          sums[at]! += (2 * code - (linear.levels - 1)) * x;
        } else {
          const base = at + (linear.salientColumns[column] ? 3 : 0);
          if (code & 1) sums[base]! += x;
          if (code & 2) sums[base + 1]! += x;
          if (code === 3) sums[base + 2]! += x;
        }
      }
  return sums;
}

/** The same of the residual columns: `[tokens, out, blocks of the gathered columns]`. */
function plainResidualSums(
  { columns, codes }: GridResidual,
  outFeatures: number,
  width: number,
  values: Int8Array,
): Int32Array {
  const blocks = blockCount(columns.length);
  const tokens = values.length / width;
  const sums = new Int32Array(tokens * outFeatures * blocks);
  for (let token = 0; token < tokens; token += 1)
    for (let row = 0; row < outFeatures; row += 1)
      columns.forEach((column, k) => {
        const sign = 2 * codes[row * columns.length + k]! - 1;
        sums[(token * outFeatures + row) * blocks + Math.floor(k / 128)]! +=
          sign * values[token * width + column]!;
      });
  return sums;
}

/** y = W (c ∘ x) + bias in float64. */
function plainProduct(linear: QuantizedLinear, x: ArrayLike<number>): Float64Array {
  const { inFeatures, outFeatures, bias } = linear;
  const weight = dequantizedPlainly(linear);
  const tokens = x.length / inFeatures;
  const y = new Float64Array(tokens * outFeatures);
  for (let token = 0; token < tokens; token += 1)
    for (let row = 0; row < outFeatures; row += 1) {
      let sum = bias?.[row] ?? 0;
      for (let column = 0; column < inFeatures; column += 1)
        sum += weight[row * inFeatures + column]! * x[token * inFeatures + column]!;
      y[token * outFeatures + row] = sum;
    }
  return y;
}

/** x̂ and s of one token by the definition, in float32. */
function plainQuantization(x: Float32Array, columnScale: Float32Array | null, bits: number) {
  const limit = 2 ** (bits - 1) - 1;
  const scaled = x.map((value, column) => (columnScale ? columnScale[column]! * value : value));
  const largest = scaled.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const scale = Math.fround(largest / limit) || 1;
  const values = Int8Array.from(scaled, (value) => {
    const quotient = Math.fround(value / scale);
    const floor = Math.floor(quotient);
    const isTie = quotient - floor === 0.5;
    const rounded = isTie ? floor + (floor % 2 === 0 ? 0 : 1) : Math.round(quotient);
    return Math.min(limit, Math.max(-limit, rounded));
  });
  return { values, scale };
}

describe.each(kinds)('$label', (kind) => {
  let source: PackageSource;
  let steps: RuntimeVerification;
  const linears: QuantizedLinear[] = [];
  const random = new SeededRandom(7);

  beforeAll(async () => {
    const out = await packTinyModel(
      kind.model ?? 'llama-odd-widths',
      path.join(folder, kind.label.replaceAll(' ', '-')),
      {
        activationScales: kind.activationScales,
        edit(block) {
          // Linears of a stage share their column scale; random linears keep the rest.
          const scales = new Map<number, Float32Array | null>();
          block.linears = block.linears.map((original) => {
            const made = randomLinear(original.name, original.outFeatures, original.inFeatures, kind, random);
            const isFirst =
              !scales.has(original.inFeatures) || /o_proj|gate_proj|down_proj/.test(original.name);
            if (isFirst) scales.set(original.inFeatures, made.columnScale);
            linears.push({ ...made, bias: original.bias, columnScale: scales.get(original.inFeatures)! });
            return linears.at(-1)!;
          });
        },
      },
    );
    source = await openPackage(out);
    steps = new RuntimeVerification(source);
    expect(linears.length).toBe(source.architecture.blocks.flatMap(linearsOf).length);
  });
  afterAll(() => {
    steps.close();
    source.close();
  });

  test.each([1, 2, 13])('integer sums of %d tokens are exact with every instruction set', (tokens) => {
    for (const linear of linears.slice(0, 7)) {
      for (const fill of ['random', 127, -127, 0]) {
        const values = Int8Array.from({ length: tokens * linear.inFeatures }, () =>
          typeof fill === 'number' ? fill : (random.nextUint32() % 255) - 127,
        );
        const expected = plainMaskedSums(linear, values);
        for (const kernels of availableKernels())
          expect(steps.maskedSums(linear.name, values, kernels), `${linear.name} ${kernels}`).toEqual(
            expected,
          );
        if (linear.layout !== 'grid' || linear.residual === null) continue;
        const residual = plainResidualSums(linear.residual, linear.outFeatures, linear.inFeatures, values);
        for (const kernels of availableKernels())
          expect(steps.residualSums(linear.name, values, kernels), `${linear.name} ${kernels}`).toEqual(
            residual,
          );
      }
    }
  });

  test('codes are stored the way the kind says, and a residual only where there is one', () => {
    for (const { name, layout, ...linear } of linears.slice(0, 7)) {
      const packed = source.linears.get(name)!;
      const isBase3 = kind.levels === 3 && packed.inFeatures !== 32;
      expect(packed.codeLayout, name).toBe(isBase3 ? 'base-3' : 'planes');
      if (layout === 'grid' && 'residual' in linear && linear.residual !== null) continue;
      expect(() => steps.residualSums(name, new Int8Array(packed.inFeatures))).toThrow(
        `${name} has no residual columns`,
      );
    }
  });

  test.each([8, 6, 4] as const)(
    'activations of %d bits are rounded as defined, and products follow',
    (bits) => {
      for (const linear of linears.slice(0, 7)) {
        const { inFeatures } = linear;
        const x = Float32Array.from({ length: 3 * inFeatures }, () => 3 * signedUniform(random));
        x.fill(0, inFeatures, 2 * inFeatures);
        for (const kernels of availableKernels()) {
          const { values, scales } = steps.quantizeActivations(linear.name, x, bits, kernels);
          const rounded = new Float64Array(x.length);
          const shared = kind.activationScales === 'block' ? columnsPerBlock : inFeatures;
          const expectedSteps: number[] = [];
          for (let token = 0; token < 3; token += 1)
            for (let first = 0; first < inFeatures; first += shared) {
              const last = Math.min(inFeatures, first + shared);
              const range = [token * inFeatures + first, token * inFeatures + last] as const;
              const columnScale = linear.columnScale?.subarray(first, last) ?? null;
              const expected = plainQuantization(x.subarray(...range), columnScale, bits);
              expectedSteps.push(expected.scale);
              expect(values.subarray(...range)).toEqual(expected.values);
              expected.values.forEach((value, index) => {
                rounded[range[0] + index] = value * expected.scale;
              });
            }
          expect([...scales]).toEqual(expectedSteps);
          const y = steps.linearForward(linear.name, x, bits, kernels);
          // The column scale is in x̂ already.
          const expected = plainProduct({ ...linear, columnScale: null }, rounded);
          expect(relativeError(y, expected)).toBeLessThan(1e-6);
        }
      }
    },
  );

  test('the float path multiplies with the dequantized weights', () => {
    for (const linear of linears.slice(0, 7)) {
      const x = Float32Array.from({ length: 5 * linear.inFeatures }, () => signedUniform(random));
      const expected = plainProduct(linear, x);
      for (const kernels of availableKernels())
        expect(relativeError(steps.linearForward(linear.name, x, 16, kernels), expected)).toBeLessThan(1e-6);
    }
  });

  test('what is not finite, or of the wrong size, is refused', () => {
    const { name, inFeatures } = linears[0]!;
    const x = new Float32Array(inFeatures);
    x[inFeatures - 1] = Number.NaN;
    expect(() => steps.linearForward(name, x, 8)).toThrow(`${name}: an input is not finite`);
    x[inFeatures - 1] = Number.POSITIVE_INFINITY;
    expect(() => steps.linearForward(name, x, 8)).toThrow('not finite');
    expect(() => steps.linearForward(name, x.subarray(1), 8)).toThrow(
      `a multiple of ${inFeatures} is needed`,
    );
    expect(() => steps.linearForward('no such layer', x, 8)).toThrow(
      'no quantized linear named no such layer',
    );
    expect(() => steps.maskedSums(name, new Int8Array(inFeatures).fill(-128))).toThrow('-128');
  });
});

test.each([
  { what: 'structured levels', kind: { layout: 'structured' } as const },
  { what: 'residual columns', kind: { layout: 'grid', levels: 2, residualShare: 0.1 } as const },
])('activation scales by block with $what are refused by the runtime too', async ({ what, kind }) => {
  const random = new SeededRandom(9);
  const out = await packTinyModel('llama-plain', path.join(folder, `refused-${what}`), {
    edit(block) {
      block.linears = block.linears.map(({ name, outFeatures, inFeatures }) =>
        randomLinear(name, outFeatures, inFeatures, kind, random),
      );
    },
  });
  const source = await openPackage(out);
  // A package that says so is refused when it is opened; whatever comes past that must not be computed.
  const forged: typeof source = Object.create(source, { activationScales: { value: 'block' } });
  expect(() => new RuntimeVerification(forged)).toThrow(
    'activation scales by block are for grids without residual columns',
  );
  source.close();
});
