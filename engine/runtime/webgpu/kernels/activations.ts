import type { ActivationScales } from '../../../quantize/recipe.ts';
import { gpuLimits } from '../limits.ts';
import { division } from './arithmetic.ts';
import { type Access, dot4, type Kernel, kernel, type Rows, statusWords, valueOfRow } from './kernel.ts';

// Inputs of the packed linears and of a quantized head: x̂ as four int8 a word, [rows, groups · words of a group], and beside it for each row the sums of its groups
// (i32) and behind them its scale s, or of each group its own (f32 by its bits): [rows, groups + 1] or [rows, groups + groups] words.

const size = gpuLimits.workgroupSize;

/** Scales of a row with so many groups. */
export const scalesOfRow = (scales: ActivationScales, groups: number): number =>
  scales === 'block' ? groups : 1;

/** Word of `side` at which `row` begins. */
export const sideOf = (scales: ActivationScales, row: string, groups: string): string =>
  `${row} * (${groups} + ${scales === 'block' ? groups : '1u'})`;

/** Writes a row of x̂, four codes a word: the byte `code` of `index` below `count`, zero beyond. */
const packedRow = (count: string, code: string): string => `
  for (var word = local.x; word < p.groups * p.words; word += ${size}u) {
    var packed = 0u;
    for (var byte = 0u; byte < 4u; byte += 1u) {
      let index = 4u * word + byte;
      if (index < ${count}) { packed |= (${code}) << (8u * byte); }
    }
    quantized[row * p.groups * p.words + word] = packed;
  }`;

/**
 * `code_of(value, scale, limit)`: value / scale, rounded to float32, then to the nearest integer, ties to even, within ±limit. A quotient beside a tie is told from it by what
 * tie · scale leaves over of the value, exactly: both factors are short.
 */
export const coding = `
fn code_of(value: f32, scale: f32, limit: f32) -> i32 {
  let magnitude = abs(value);
  let about = magnitude / scale;
  let below = floor(about);
  let tie = below + 0.5;
  var code = select(below, below + 1.0, about > tie);
  if (abs(about - tie) < 0.001) {
    let scale_high = bitcast<f32>(bitcast<u32>(scale) & 0xfffff000u);
    let left = (magnitude - scale_high * tie) - (scale - scale_high) * tie;
    let above_tie = scale * half_step(bitcast<u32>(tie));
    let below_tie = select(above_tie, 0.5 * above_tie, tie == 0.5);
    code = below + select(0.0, 1.0, left > above_tie || (left >= -below_tie && (u32(below) & 1u) == 1u));
  }
  return i32(select(min(code, limit), -min(code, limit), value < 0.0));
}`;

/** Writes a row of float input: `value` of `index` below `count`, zero up to `p.width`. */
const paddedRow = (count: string, value: string): string => `${valueOfRow(size, 'p.width')}
  let row = workgroup.y;
  var value = 0.0;
  if (index < ${count}) { value = ${value}; }
  padded[row * p.width + index] = value;`;

/** Sums of groups of `p.words` words of x̂, once the row's words are written. */
const groupSums = `
  storageBarrier();
  for (var group = local.x; group < p.groups; group += ${size}u) {
    var sum = 0;
    for (var word = 0u; word < p.words; word += 1u) {
      sum += dot4(0x01010101u, quantized[(row * p.groups + group) * p.words + word]);
    }
    side[${sideOf('token', 'row', 'p.groups')} + group] = bitcast<u32>(sum);
  }`;

function quantizeBuffers(columnScale: boolean): (readonly [string, Access, string])[] {
  return [
    ['x', 'read', 'f32'],
    ...(columnScale ? ([['column_scales', 'read', 'f32']] as const) : []),
    ['quantized', 'write', 'u32'],
    ['side', 'write', 'u32'],
    ['status', 'write', 'u32'],
  ];
}

const quantizeHelpers = (columnScale: boolean, packedDot: boolean): string =>
  `${dot4(packedDot)}${division}${coding}
fn value_of(row: u32, column: u32) -> f32 {
  return ${columnScale ? 'column_scales[column] * ' : ''}x[row * p.stride + column];
}`;

/** `scale` of what has its largest magnitude, as each thread found it, in `largest_bits`. */
const scaleOfLargest = `
  largest_bits = reduce_bits(local.x, largest_bits);
  if (largest_bits >= 0x7f800000u) {
    if (local.x == 0u) { status[${statusWords.notFinite}] = 1u; }
    largest_bits = 0u;
  }
  var scale = quotient(bitcast<f32>(largest_bits), p.limit);
  if (scale == 0.0) { scale = 1.0; }`;

/**
 * x̂ = round(c·x / s) to nearest, ties to even, within ±limit; s = max|c·x| / limit, 1 where that is 0 (docs/format.md section 6). Word `statusWords.notFinite` of `status` becomes 1 where
 * a value is not finite.
 */
export function quantizeKernel(options: { columnScale: boolean; rows: Rows; packedDot: boolean }): Kernel {
  const { columnScale, rows, packedDot } = options;
  return kernel({
    key: `quantize${columnScale ? ' scaled' : ''} ${rows} ${packedDot ? 'dot' : 'plain'}`,
    parameters: ['columns: u32', 'groups: u32', 'words: u32', 'stride: u32', 'limit: f32'],
    buffers: quantizeBuffers(columnScale),
    workgroup: [size],
    reduces: true,
    declarations: quantizeHelpers(columnScale, packedDot),
    body: `
  let row = workgroup.x;
  if (row >= chunk.${rows}) { return; }
  var largest_bits = 0u;
  for (var column = local.x; column < p.columns; column += ${size}u) {
    largest_bits = max(largest_bits, bitcast<u32>(value_of(row, column)) & 0x7fffffffu);
  }
  ${scaleOfLargest}
  ${packedRow('p.columns', 'bitcast<u32>(code_of(value_of(row, index), scale, p.limit)) & 255u')}
  if (local.x == 0u) { side[${sideOf('token', 'row', 'p.groups')} + p.groups] = bitcast<u32>(scale); }
  ${groupSums}`,
  });
}

/** Words of x̂ of a block of 128 columns, and threads that round it. */
const wordsPerBlock = 32;

/**
 * The same with a scale for each row and block of 128 columns: a workgroup rounds one block, a thread four columns of it, so that a single token keeps many workgroups busy.
 */
export function quantizeBlocksKernel(options: { columnScale: boolean; packedDot: boolean }): Kernel {
  const { columnScale, packedDot } = options;
  return kernel({
    key: `quantize blocks${columnScale ? ' scaled' : ''} ${packedDot ? 'dot' : 'plain'}`,
    parameters: ['columns: u32', 'groups: u32', 'stride: u32', 'limit: f32'],
    buffers: quantizeBuffers(columnScale),
    workgroup: [wordsPerBlock],
    reduces: true,
    declarations: quantizeHelpers(columnScale, packedDot),
    body: `
  let row = workgroup.x;
  let group = workgroup.y;
  if (row >= chunk.tokens) { return; }
  let word = group * ${wordsPerBlock}u + local.x;
  let first = 4u * word;
  let count = min(max(p.columns, first) - first, 4u);
  var largest_bits = 0u;
  for (var byte = 0u; byte < count; byte += 1u) {
    largest_bits = max(largest_bits, bitcast<u32>(value_of(row, first + byte)) & 0x7fffffffu);
  }
  ${scaleOfLargest}
  var packed = 0u;
  for (var byte = 0u; byte < count; byte += 1u) {
    packed |= (bitcast<u32>(code_of(value_of(row, first + byte), scale, p.limit)) & 255u) << (8u * byte);
  }
  quantized[row * p.groups * ${wordsPerBlock}u + word] = packed;
  // At most 128 · 127: a whole number that float32 has.
  let sum = reduce_sum(local.x, f32(dot4(0x01010101u, packed)));
  if (local.x == 0u) {
    let at = ${sideOf('block', 'row', 'p.groups')} + group;
    side[at] = bitcast<u32>(i32(sum));
    side[at + p.groups] = bitcast<u32>(scale);
  }`,
  });
}

/** x̂ of the columns in `columns`, with the same scales, one for each row; zero beyond the last. */
export function gatherQuantizedKernel(packedDot: boolean): Kernel {
  return kernel({
    key: `gather quantized ${packedDot ? 'dot' : 'plain'}`,
    parameters: ['count: u32', 'groups: u32', 'words: u32', 'source_words: u32', 'source_groups: u32'],
    buffers: [
      ['source', 'read', 'u32'],
      ['source_side', 'read', 'u32'],
      ['columns', 'read', 'u32'],
      ['quantized', 'write', 'u32'],
      ['side', 'write', 'u32'],
    ],
    workgroup: [size],
    declarations: `${dot4(packedDot)}
fn source_code(row: u32, column: u32) -> u32 {
  return (source[row * p.source_words + column / 4u] >> (8u * (column % 4u))) & 255u;
}`,
    body: `
  let row = workgroup.x;
  if (row >= chunk.tokens) { return; }
  ${packedRow('p.count', 'source_code(row, columns[index])')}
  if (local.x == 0u) {
    side[${sideOf('token', 'row', 'p.groups')} + p.groups] = source_side[${sideOf('token', 'row', 'p.source_groups')} + p.source_groups];
  }
  ${groupSums}`,
  });
}

/** The float path's input: c·x, or x, padded with zeros to whole blocks: `[tokens, blocks · 128]`. */
export function padKernel(columnScale: boolean): Kernel {
  return kernel({
    key: `pad${columnScale ? ' scaled' : ''}`,
    parameters: ['columns: u32', 'width: u32', 'stride: u32'],
    buffers: [
      ['x', 'read', 'f32'],
      ...(columnScale ? ([['column_scales', 'read', 'f32']] as const) : []),
      ['padded', 'write', 'f32'],
    ],
    workgroup: [size],
    body: paddedRow('p.columns', `${columnScale ? 'column_scales[index] * ' : ''}x[row * p.stride + index]`),
  });
}

/** Of a padded float input the columns in `columns`, padded in turn. */
export function gatherFloatsKernel(): Kernel {
  return kernel({
    key: 'gather floats',
    parameters: ['count: u32', 'width: u32', 'source_width: u32'],
    buffers: [
      ['source', 'read', 'f32'],
      ['columns', 'read', 'u32'],
      ['padded', 'write', 'f32'],
    ],
    workgroup: [size],
    body: paddedRow('p.count', 'source[row * p.source_width + columns[index]]'),
  });
}
