import { DBellError } from '../contract/errors.ts';
import type { Block, Linear } from '../model/architecture.ts';
import { type LowBitSummary, summariseLowBit } from '../model/low-bit-model.ts';
import type { LowBitWeight, ModelSource } from '../model/source.ts';
import { packing } from '../native/packing.ts';
import { quantizeOperations } from './cost-model.ts';
import { dequantize } from './dequantize.ts';
import { type ProgressReporter, plainEvent } from './progress-reporter.ts';
import { blockCount, columnsPerBlock, type GridLinear } from './quantized-linear.ts';
import type { Recipe } from './recipe.ts';
import type { QuantizedBlock } from './sink.ts';

/**
 * Recipe `as-is`: weights that a model was trained with in two to four levels are carried over, code by code, and their scales exactly. What the packed format
 * cannot hold exactly is refused with the reason; nothing is rounded.
 *
 * @param weight what the model stores (`ModelSource.lowBitWeight`)
 * @throws DBellError `unsupported-model` where a scale cannot be held
 */
export function gridOf(linear: Linear, weight: LowBitWeight, bias: Float32Array | null): GridLinear {
  const { name, outFeatures, inFeatures } = linear;
  const blocks = blockCount(inFeatures);
  const blockScales = scalesByBlock(linear, weight);
  const { levels } = weight;
  // At two levels the codes are ∓½ in the format and ∓1 here.
  const perScale = levels === 2 ? 2 : 1;
  const values = blockScales.map((scale) => perScale * scale);
  // At four levels −1, 0, 1, 2 lie half a step above the format's centre.
  const hasOffsets = levels === 4;
  const rowScale = new Float32Array(outFeatures).fill(1);
  let hasRowScale = false;
  const fits = (row: number, candidate: number): boolean => {
    if (!Number.isFinite(candidate) || candidate === 0) return false;
    const scales = blockScales.subarray(row * blocks, (row + 1) * blocks);
    const quotients = scales.map((scale) => (perScale * scale) / candidate);
    const held = hasOffsets ? Float32Array.of(...quotients, ...quotients.map((q) => q / 2)) : quotients;
    const stored = packing.halfsToFloats(packing.floatsToHalfs(held).halfs);
    return (
      held.every((value, index) => value === stored[index]) &&
      // The product with t is rounded to float32: it must give the scale itself (twice that, and zero, follow).
      quotients.every(
        (quotient, index) => Math.fround(candidate * (quotient / perScale)) === (scales[index] ?? 0),
      )
    );
  };
  const halves = packing.halfsToFloats(packing.floatsToHalfs(values).halfs);
  for (let row = 0; row < outFeatures; row += 1) {
    const range = [row * blocks, (row + 1) * blocks] as const;
    const scales = values.subarray(...range);
    const isExact =
      scales.every((value, index) => value === halves[row * blocks + index]) && (!hasOffsets || fits(row, 1));
    if (isExact) continue;
    const chosen = rowScaleCandidates(blockScales.subarray(...range)).find((candidate) =>
      fits(row, candidate),
    );
    if (chosen === undefined) throw ratioError(linear, row, blockScales.subarray(...range));
    hasRowScale = true;
    rowScale[row] = chosen;
    for (let index = range[0]; index < range[1]; index += 1) values[index] = (values[index] ?? 0) / chosen;
  }
  return {
    ...{ layout: 'grid', name, outFeatures, inFeatures, levels, bias, columnScale: null, residual: null },
    codes: weight.codes,
    scales: packing.floatsToHalfs(values).halfs,
    offsets: hasOffsets ? packing.floatsToHalfs(values.map((value) => value / 2)).halfs : null,
    ...(hasRowScale ? { rowScale } : {}),
  };
}

/**
 * t is tried as 1, as each scale of the row itself, so that equal scales become 1, and as the power of two that brings the largest to between 1 and 2, so that scales
 * of few digits come into fp16's range.
 */
function rowScaleCandidates(scales: Float32Array): number[] {
  const nonZero = [...new Set(scales.map(Math.abs))].filter((scale) => scale > 0);
  const largest = Math.max(...nonZero);
  return [1, ...nonZero, 2 ** Math.floor(Math.log2(largest))];
}

function ratioError(linear: Linear, row: number, scales: Float32Array): DBellError {
  const distinct = [...new Set(scales)];
  return new DBellError(
    'unsupported-model',
    `${linear.name}: row ${row} has the scales ${distinct.slice(0, 3).join(', ')}${distinct.length > 3 ? ', …' : ''}, whose ratios fp16 cannot hold; kept as they are the weights would change, so as-is is refused; use a grid recipe instead`,
  );
}

/** One scale for each row and 128 columns, `[out, blocks]`; groups of 64 must agree within them. */
function scalesByBlock(linear: Linear, weight: LowBitWeight): Float32Array {
  const { name, outFeatures, inFeatures } = linear;
  const { groupSize, scales, codes, levels } = weight;
  const blocks = blockCount(inFeatures);
  const groups = Math.ceil(inFeatures / groupSize);
  const result = new Float32Array(outFeatures * blocks);
  if (groupSize >= columnsPerBlock) {
    if (groupSize % columnsPerBlock !== 0 && groups > 1)
      throw new DBellError('internal', `${name}: groups of ${groupSize} columns are no whole blocks`);
    for (let row = 0; row < outFeatures; row += 1)
      for (let block = 0; block < blocks; block += 1)
        result[row * blocks + block] =
          scales[row * groups + Math.floor((block * columnsPerBlock) / groupSize)] ?? 0;
    return result;
  }
  const isZero = (row: number, group: number): boolean => {
    if (scales[row * groups + group] === 0) return true;
    const begin = row * inFeatures + group * groupSize;
    return levels !== 2 && codes.subarray(begin, begin + groupSize).every((code) => code === 1);
  };
  for (let row = 0; row < outFeatures; row += 1)
    for (let group = 0; group < groups; group += 1) {
      if (isZero(row, group)) continue;
      const at = row * blocks + Math.floor((group * groupSize) / columnsPerBlock);
      const scale = scales[row * groups + group] ?? 0;
      const before = result[at] ?? 0;
      if (before !== 0 && before !== scale)
        throw new DBellError(
          'unsupported-model',
          `${name}: row ${row} has the scales ${before} and ${scale} in neighbouring groups of ${groupSize} columns; the packed format has one scale for ${columnsPerBlock} columns, so the weights cannot be kept as they are; use a grid recipe instead`,
        );
      result[at] = scale;
    }
  return result;
}

export interface KeptBlockJob {
  source: ModelSource;
  recipe: Recipe;
  reporter: ProgressReporter;
}

/**
 * A block's linears exactly as the model has them. Each is checked against the float weights that every other path computes with.
 *
 * @throws DBellError `unsupported-model` where a linear has more levels, or scales that the format cannot hold
 */
export async function keepBlock(job: KeptBlockJob, block: Block): Promise<QuantizedBlock> {
  const kept: QuantizedBlock = { index: block.index, linears: [], floatTensors: new Map(), reports: [] };
  for (const stage of block.stages)
    for (const linear of stage.linears) {
      const quantized = keepLinear(linear, job.source);
      const stored = job.source.tensors.get(`${linear.name}.weight`)?.storedType ?? 'float';
      const notes = [`kept as it is: ${quantized.levels} levels, stored as ${stored} in the model`];
      kept.linears.push(quantized);
      kept.reports.push({ name: linear.name, relativeError: 0, weightRelativeError: 0, notes });
      await job.reporter.advance(quantizeOperations(linear, job.recipe), {
        ...plainEvent('quantize', 0, 0),
        stage: stage.name,
        layer: linear.name,
        relativeError: 0,
        notes,
      });
    }
  return kept;
}

function keepLinear(linear: Linear, source: ModelSource): GridLinear {
  const weight = source.lowBitWeight?.(`${linear.name}.weight`) ?? null;
  if (weight === null) throw moreLevels(linear.name);
  const quantized = gridOf(linear, weight, linear.bias === null ? null : source.readFloat32(linear.bias));
  const dequantized = dequantize(quantized);
  const original = source.readFloat32(`${linear.name}.weight`);
  for (let index = 0; index < original.length; index += 1)
    if (dequantized[index] !== original[index])
      throw new DBellError(
        'internal',
        `${linear.name}: weight [${Math.floor(index / linear.inFeatures)}, ${index % linear.inFeatures}] would become ${dequantized[index]} instead of ${original[index]}`,
      );
  return quantized;
}

function moreLevels(name: string): DBellError {
  return new DBellError(
    'unsupported-model',
    `${name}: the weights have more than three levels in a row's ${columnsPerBlock} columns; as-is keeps natively binary and ternary models only; use a grid recipe instead`,
  );
}

/**
 * What can be said before work starts, from headers and a few rows.
 *
 * @throws DBellError `unsupported-model` where a linear surely has more levels
 */
export function checkKept(source: ModelSource): LowBitSummary {
  const summary = summariseLowBit(
    source.architecture,
    (name) => source.tensors.get(name)?.storedType,
    (name, begin, count) => source.readRowsFloat32(name, begin, count),
  );
  if (typeof summary === 'string') throw moreLevels(summary);
  return summary;
}
