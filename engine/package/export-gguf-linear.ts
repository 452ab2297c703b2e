import { DBellError } from '../contract/errors.ts';
import { packing } from '../native/packing.ts';
import { blockCount, columnsPerBlock, type QuantizedLinear } from '../quantize/quantized-linear.ts';
import { exportBytes, exportTypes, type GgufExportType } from './export-gguf-file.ts';

/**
 * A grid linear as blocks of ggml. With d the block's fp16 scale and q the code of our grid of L levels, value r · (q − (L − 1)/2) + m:
 *
 * | type | value of ggml     | for                                          | d     | code          |
 * | Q1_0 | d (2c − 1)        | L = 2                                        | r / 2 | q             |
 * | Q2_0 | d (c − 1)         | L = 3; L = 4 where m = r / 2                 | r     | q             |
 * | Q4_0 | d (c − 8)         | L even up to 8                               | r / 2 | 2q − L + 9    |
 * |      |                   | L odd up to 15                               | r     | q + 8 − (L−1)/2 |
 * | Q4_1 | d c + minimum     | L up to 16, with or without m                | r     | q             |
 * | Q5_0 | d (c − 16)        | L even up to 16                              | r / 2 | 2q − L + 17   |
 *
 * All are exact but Q4_1, whose minimum m − r (L − 1)/2 has more bits than fp16: it is rounded, and llama.cpp rounds the block's sum of activations that it
 * multiplies with, too. On SmolLM2 that moved the perplexity by 0.7%, Q5_0 by 0.1%.
 */
export interface LinearMapping {
  type: GgufExportType;
  /** c = codeFactor · q + codeOffset. */
  codeFactor: 1 | 2;
  codeOffset: number;
  /** d, fp16 bits, `[out, blocks of 128]`. */
  scales: Uint16Array;
  /** Q4_1's minimum, fp16 bits, `[out, blocks of 128]`, or null. */
  minima: Uint16Array | null;
  /** Largest error of a minimum in steps of the grid; 0 where the mapping is exact. */
  largestShift: number;
}

/** `exact`: refuse what would be rounded. `closest`: round only where no type is exact. `compact`: take the smaller type even where it rounds. */
export type ExportRounding = 'exact' | 'closest' | 'compact';

function refuseLinear(name: string, reason: string): never {
  throw new DBellError('unsupported-model', `${name} cannot be exported: ${reason}`);
}

/** Throws DBellError `unsupported-model` where no type has blocks that fill a linear's rows: no recipe mends it. */
export function checkWidth({ name, inFeatures }: { name: string; inFeatures: number }): void {
  const { elements } = exportTypes.Q4_0;
  if (inFeatures % elements !== 0)
    refuseLinear(name, `its ${inFeatures} columns are no multiple of ${elements}, GGUF's block`);
}

/**
 * Finds the type that holds a linear.
 *
 * @throws DBellError `unsupported-model` with the reason where none does
 */
export function mapLinear(linear: QuantizedLinear, rounding: ExportRounding): LinearMapping {
  const refuse = (reason: string): never => refuseLinear(linear.name, reason);
  const { inFeatures, columnScale } = linear;
  if (linear.layout !== 'grid')
    return refuse('its structured layout (two groups and salient columns) has no counterpart in GGUF');
  if (linear.residual !== null) return refuse('residual columns have no counterpart in GGUF');
  if (columnScale?.some((value) => value !== 1))
    return refuse(
      'it has a scale for each column, which GGUF has no place for; quantize with --set columnScale=folded or none',
    );
  checkWidth(linear);
  const { levels } = linear;
  const steps = stepsOf(linear);
  const offsets = linear.offsets === null ? null : packing.halfsToFloats(linear.offsets);
  if (linear.rowScale && offsets !== null)
    for (const [index, offset] of offsets.entries())
      offsets[index] = offset * (linear.rowScale[Math.floor(index / blockCount(inFeatures))] ?? 1);
  const halves = (): Uint16Array | null => exactHalves(steps.map((step) => step / 2));
  const whole = (): Uint16Array | null => exactHalves(steps);
  const mapping = (
    type: GgufExportType,
    scales: Uint16Array | null,
    codeFactor: 1 | 2,
    codeOffset: number,
  ): LinearMapping | null =>
    scales === null || inFeatures % exportTypes[type].elements !== 0
      ? null
      : { type, codeFactor, codeOffset, scales, minima: null, largestShift: 0 };

  if (offsets === null) {
    const isEven = levels % 2 === 0;
    const found =
      (levels === 2 ? mapping('Q1_0', halves(), 1, 0) : null) ??
      (levels === 3 ? mapping('Q2_0', whole(), 1, 0) : null) ??
      (isEven && levels <= 8 ? mapping('Q4_0', halves(), 2, 9 - levels) : null) ??
      (!isEven && levels <= 15 ? mapping('Q4_0', whole(), 1, 8 - (levels - 1) / 2) : null) ??
      (rounding !== 'compact' && isEven && levels <= 16 ? mapping('Q5_0', halves(), 2, 17 - levels) : null);
    if (found !== null) return found;
  } else if (levels === 4 && offsets.every((offset, index) => offset === (steps[index] ?? 0) / 2)) {
    const found = mapping('Q2_0', whole(), 1, 0);
    if (found !== null) return found;
  }
  if (levels > 16) return refuse(`its ${levels} levels are more than the 16 of GGUF's four-bit blocks`);
  const scales = whole();
  if (scales === null) return refuse('its scales have more bits than fp16, which GGUF stores');
  const minima = minimaOf(steps, offsets, levels);
  if (minima.halfs === null)
    return refuse('the smallest value of a block exceeds fp16, in which GGUF stores it');
  if (rounding === 'exact' && minima.largestShift > 0)
    return refuse(
      `the smallest value of its blocks would be rounded to fp16 (by up to ${minima.largestShift.toPrecision(2)} of a step)`,
    );
  return {
    type: 'Q4_1',
    codeFactor: 1,
    codeOffset: 0,
    scales,
    minima: minima.halfs,
    largestShift: minima.largestShift,
  };
}

/** r, times the row's own scale where there is one: `[out, blocks]`, float32. */
function stepsOf(linear: QuantizedLinear & { layout: 'grid' }): Float32Array {
  const steps = packing.halfsToFloats(linear.scales);
  const { rowScale } = linear;
  if (!rowScale) return steps;
  const blocks = blockCount(linear.inFeatures);
  return steps.map((step, index) => step * (rowScale[Math.floor(index / blocks)] ?? 1));
}

/** fp16 bits, or null where a value is no fp16 number. */
function exactHalves(values: Float32Array): Uint16Array | null {
  const { halfs } = packing.floatsToHalfs(values);
  const back = packing.halfsToFloats(halfs);
  return values.every((value, index) => value === back[index]) ? halfs : null;
}

function minimaOf(
  steps: Float32Array,
  offsets: Float32Array | null,
  levels: number,
): { halfs: Uint16Array | null; largestShift: number } {
  const centre = (levels - 1) / 2;
  const minima = Float64Array.from(steps, (step, index) => (offsets?.[index] ?? 0) - step * centre);
  const { halfs, firstOverflow } = packing.floatsToHalfs(Float32Array.from(minima));
  if (firstOverflow !== -1) return { halfs: null, largestShift: 0 };
  const stored = packing.halfsToFloats(halfs);
  let largestShift = 0;
  for (const [index, minimum] of minima.entries()) {
    const step = Math.abs(steps[index] ?? 0);
    const error = Math.abs((stored[index] ?? 0) - minimum);
    if (step > 0 && error > largestShift * step) largestShift = error / step;
  }
  return { halfs, largestShift };
}

/**
 * All blocks of a linear, row by row.
 *
 * @param sourceRow which of our rows stands in a row of the file
 */
export function encodeLinear(
  linear: QuantizedLinear,
  mapping: LinearMapping,
  sourceRow: (row: number) => number,
): Uint8Array {
  const { outFeatures, inFeatures, codes } = linear;
  const { type, codeFactor, codeOffset, scales, minima } = mapping;
  const { elements, bytes } = exportTypes[type];
  const target = new Uint8Array(exportBytes(type, [outFeatures, inFeatures]));
  const blocks = blockCount(inFeatures);
  const block = new Uint8Array(elements);
  let at = 0;
  for (let row = 0; row < outFeatures; row += 1) {
    const source = sourceRow(row);
    for (let column = 0; column < inFeatures; column += elements) {
      const index = source * blocks + Math.floor(column / columnsPerBlock);
      for (let i = 0; i < elements; i += 1)
        block[i] = codeFactor * (codes[source * inFeatures + column + i] ?? 0) + codeOffset;
      writeHalf(target, at, scales[index] ?? 0);
      let begin = at + 2;
      if (minima !== null) {
        writeHalf(target, begin, minima[index] ?? 0);
        begin += 2;
      }
      packCodes[type]?.(block, target, begin);
      at += bytes;
    }
  }
  return target;
}

function writeHalf(target: Uint8Array, at: number, bits: number): void {
  target[at] = bits & 255;
  target[at + 1] = bits >> 8;
}

type PackCodes = (codes: Uint8Array, target: Uint8Array, at: number) => void;

/** The low nibbles hold the first half of the codes, the high ones the second. */
const packNibbles: PackCodes = (codes, target, at) => {
  for (let i = 0; i < 16; i += 1) target[at + i] = (codes[i]! & 15) | ((codes[16 + i]! & 15) << 4);
};

const packCodes: Partial<Record<GgufExportType, PackCodes>> = {
  Q1_0(codes, target, at) {
    for (let i = 0; i < codes.length; i += 1) target[at + (i >> 3)]! |= codes[i]! << (i & 7);
  },
  Q2_0(codes, target, at) {
    for (let i = 0; i < codes.length; i += 1) target[at + (i >> 2)]! |= codes[i]! << (2 * (i & 3));
  },
  Q4_0: packNibbles,
  Q4_1: packNibbles,
  /** The fifth bits of all codes come first, in 32 bits. */
  Q5_0(codes, target, at) {
    for (let i = 0; i < 32; i += 1) target[at + (i >> 3)]! |= (codes[i]! >> 4) << (i & 7);
    packNibbles(codes, target, at + 4);
  },
};
