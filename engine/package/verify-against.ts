import type { Block, Stage } from '../model/architecture.ts';
import { type ProblemList, quote } from '../model/problems.ts';
import type { ModelSource } from '../model/source.ts';
import { packing } from '../native/packing.ts';
import { dequantize } from '../quantize/dequantize.ts';
import { hiddenScale, relativeErrorUpToScale } from '../quantize/folding.ts';
import { correctsBias, foldsIntoNorms } from '../quantize/resolve-recipe.ts';
import { scaleColumns } from '../quantize/scaled-columns.ts';
import { rowsPerGroup } from './layout.ts';
import {
  fittedScaleTolerance,
  foldedBiasTolerance,
  weightErrorFloor,
  weightErrorTolerance,
} from './limits.ts';
import type { OpenedPackage } from './opened-package.ts';
import { bytesOf } from './pack-linear.ts';
import type { TableQuality } from './schema.ts';
import { effectiveScale, normScale } from './source-scale.ts';
import { noTableErrors, packRows, rowChunks } from './tables.ts';
import type { PackedTable, TensorLocation } from './types.ts';

/**
 * Compares a package with the model that it was made from. What is stored unchanged must be equal to the bit after the documented rounding; quantized
 * weights are compared through the error that quality.json states for them.
 */
export async function compareWithSource(
  opened: OpenedPackage,
  source: ModelSource,
  problems: ProblemList,
  onProgress: (share: number) => void,
): Promise<void> {
  if (JSON.stringify(opened.architecture) !== JSON.stringify(source.architecture)) {
    problems.error(
      'other-model',
      `the package does not have the architecture of ${source.path}; it was made from another model`,
    );
    return;
  }
  if ((await source.fingerprint()) !== opened.quality.sourceFingerprint)
    problems.error(
      'other-model',
      `${source.path} is not the file that the package was made from (fingerprints differ)`,
    );
  compareTokenizers(opened, source, problems);
  const folded = foldableNormTensors(opened);
  for (const [name, location] of opened.floats) {
    if (folded.has(name)) continue;
    if (location.dtype === 'F16') compareRows(opened, source, name, { halfs: location }, problems);
    else compareFloats(name, opened.readFloat32(name), source.readFloat32(name), problems);
  }
  for (const table of new Set([opened.embedding, opened.head])) {
    const quality = opened.quality.tables?.find(({ name }) => name === table.name);
    if (table.bits === 'grid')
      problems.error('value-differs', `${quote(table.name)} is stored as a grid, which no source gives`);
    else if (quality?.method === 'compensated')
      await compareTableError(opened, source, table, quality, problems);
    else
      compareRows(opened, source, table.name, table.bits === 16 ? { halfs: table.values } : table, problems);
  }
  const blocks = opened.architecture.blocks;
  for (const block of blocks) {
    for (const stage of block.stages) {
      compareStage(opened, source, block, stage, problems);
      await new Promise((resolve) => setImmediate(resolve));
    }
    onProgress((block.index + 1) / blocks.length);
  }
}

function compareTokenizers(opened: OpenedPackage, source: ModelSource, problems: ProblemList): void {
  for (const [name, bytes] of source.tokenizerFiles) {
    const stored = opened.tokenizerFiles.get(name);
    if (stored === undefined || !Buffer.from(bytes).equals(stored))
      problems.error('tokenizer', `${name} is not the source's`);
  }
}

/** Norm tensors that a transform or a grid's column scale may have been folded into. */
function foldableNormTensors(opened: OpenedPackage): Set<string> {
  const names = new Set<string>();
  if (!foldsIntoNorms(opened.quantization.recipe)) return names;
  for (const stage of opened.architecture.blocks.flatMap((block) => block.stages))
    for (const name of [stage.foldableNorm?.weight, stage.foldableNorm?.bias]) if (name) names.add(name);
  return names;
}

function compareFloats(
  name: string,
  stored: Float32Array,
  values: Float32Array,
  problems: ProblemList,
): void {
  const bad = values.findIndex((value, index) => value !== stored[index]);
  if (bad !== -1)
    problems.error(
      'value-differs',
      `${quote(name)}: value ${bad} is ${stored[bad]}, in the source ${values[bad]}`,
    );
}

/** Tables, positions and projections: what the writer would store is what is stored. */
function compareRows(
  opened: OpenedPackage,
  source: ModelSource,
  name: string,
  tensors: { halfs: TensorLocation } | Exclude<PackedTable, { bits: 16 | 'grid' }>,
  problems: ProblemList,
): void {
  const [rows = 0, columns = 0] = source.tensors.get(name)?.shape ?? [];
  for (const { begin, count, values } of rowChunks(source, name, rows, columns)) {
    const encoded: [TensorLocation, Uint8Array][] = [];
    if ('halfs' in tensors) encoded.push([tensors.halfs, bytesOf(packing.floatsToHalfs(values).halfs)]);
    else {
      const { codes, scales } =
        tensors.bits === 8
          ? packing.quantizeTable8(values, count, columns)
          : packRows(values, count, columns, tensors.bits, null, noTableErrors());
      encoded.push([tensors.codes, bytesOf(codes)], [tensors.scales, bytesOf(scales)]);
    }
    // Tables of 6 and 4 bits are stored by groups of 16 rows, of which the last may not be full.
    const unit = 'halfs' in tensors || tensors.bits === 8 ? 1 : rowsPerGroup;
    for (const [location, bytes] of encoded) {
      const rowBytes = bytes.length / (Math.ceil(count / unit) * unit);
      const stored = opened.readRange(location, begin * rowBytes, bytes.length);
      if (Buffer.from(stored).equals(bytes)) continue;
      const at = bytes.findIndex((byte, index) => byte !== stored[index]);
      problems.error(
        'value-differs',
        `${quote(location.name)}: ${unit === 1 ? `row ${begin + Math.floor(at / rowBytes)}` : `rows from ${begin + Math.floor(at / rowBytes / unit) * unit} on`} ${unit === 1 ? 'is' : 'are'} not what the source gives`,
      );
      return;
    }
  }
}

/** A table that was fitted to its calibration: its error is the one that quality.json states. */
async function compareTableError(
  opened: OpenedPackage,
  source: ModelSource,
  { name, rows, columns }: PackedTable,
  { weightRelativeError: stated }: TableQuality,
  problems: ProblemList,
): Promise<void> {
  let error = 0;
  let norm = 0;
  for (const { begin, count, values } of rowChunks(source, name, rows, columns)) {
    const stored = opened.readRowsFloat32(name, begin, count);
    for (let index = 0; index < values.length; index += 1) {
      const value = values[index] ?? 0;
      error += (value - (stored[index] ?? 0)) ** 2;
      norm += value * value;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  const relative = norm > 0 ? error / norm : Number(error > 0);
  const wanted = stated ?? Number.NaN;
  if (!(Math.abs(relative - wanted) <= weightErrorTolerance * wanted + weightErrorFloor))
    problems.error(
      'weight-error',
      `${quote(name)}: the table differs from the source's by ${relative.toPrecision(6)} (relative, squared), quality.json says ${stated?.toPrecision(6) ?? 'nothing'}`,
    );
}

/** Weight error of each linear of a stage, with the column scales that the package applies to its input. */
function compareStage(
  opened: OpenedPackage,
  source: ModelSource,
  block: Block,
  stage: Stage,
  problems: ProblemList,
): void {
  const { recipe } = opened.quantization;
  const folded = foldedScale(opened, source, stage, problems);
  for (const described of stage.linears) {
    const { name, bias } = described;
    const linear = opened.readLinear(name);
    const weight = source.readFloat32(`${name}.weight`);
    const quantized = dequantize(linear);
    const { scale, fitted } = effectiveScale(
      linear.columnScale,
      folded,
      weight,
      quantized,
      linear.inFeatures,
    );
    const hidden = hiddenScale(recipe, opened.architecture, block, stage, described);
    const error = hidden
      ? relativeErrorUpToScale(weight, scaleColumns(quantized, scale), linear.inFeatures, hidden)
      : weightRelativeError(weight, quantized, scale);
    const stated =
      opened.quality.layers.find((layer) => layer.name === name)?.weightRelativeError ?? Number.NaN;
    const tolerance = fitted ? fittedScaleTolerance : weightErrorTolerance;
    if (!(Math.abs(error - stated) <= tolerance * stated + weightErrorFloor))
      problems.error(
        'weight-error',
        `${quote(name)}: the weights differ from the source's by ${error.toPrecision(6)} (relative, squared), quality.json says ${stated.toPrecision(6)}`,
      );
    const ownBias = !correctsBias(recipe, stage) && hidden !== 'rows';
    if (bias !== null && linear.bias !== null && ownBias)
      compareFloats(bias, linear.bias, source.readFloat32(bias), problems);
  }
}

/** `normScale` of a stage; nothing may be lost in it, and the norm's bias must have been scaled alike. */
function foldedScale(
  opened: OpenedPackage,
  source: ModelSource,
  stage: Stage,
  problems: ProblemList,
): Float64Array | null {
  const norm = stage.foldableNorm;
  const scale = normScale(opened, source, stage);
  if (scale === null || norm === null || norm.weight === null) return null;
  const before = source.readFloat32(norm.weight);
  const after = opened.readFloat32(norm.weight);
  const lost = before.findIndex((value, index) => (value === 0) !== (after[index] === 0));
  if (lost !== -1)
    problems.error(
      'value-differs',
      `${quote(norm.weight)}: value ${lost} is ${after[lost]}, in the source ${before[lost]}; no scale makes one of the other`,
    );
  if (norm.bias !== null) {
    const sourceBias = source.readFloat32(norm.bias);
    const bias = opened.readFloat32(norm.bias);
    const bad = sourceBias.findIndex((value, index) => {
      const expected = value * (scale[index] ?? 0);
      return Math.abs((bias[index] ?? 0) - expected) > foldedBiasTolerance * Math.abs(expected);
    });
    if (bad !== -1)
      problems.error(
        'value-differs',
        `${quote(norm.bias)}: value ${bad} is ${bias[bad]}, but the source's ${sourceBias[bad]} scaled like the norm's weight is ${sourceBias[bad]! * scale[bad]!}`,
      );
  }
  return scale;
}

/** ‖W − Q·diag(c)‖² / ‖W‖²; 0 for a layer of zeros that came back so. */
function weightRelativeError(weight: Float32Array, quantized: Float32Array, scale: Float64Array): number {
  let error = 0;
  let norm = 0;
  const columns = scale.length;
  for (let begin = 0; begin < weight.length; begin += columns)
    for (let column = 0; column < columns; column += 1) {
      const value = weight[begin + column] ?? 0;
      const difference = value - (quantized[begin + column] ?? 0) * (scale[column] ?? 0);
      error += difference * difference;
      norm += value * value;
    }
  if (norm > 0) return error / norm;
  return error > 0 ? 1 : 0;
}
