import { sideOf } from './activations.ts';
import { rounding } from './arithmetic.ts';
import { dot4, halfValues, type Kernel, kernel, unrolled, unsignedBytes } from './kernel.ts';
import { type GridVariant, linearBuffers, linearParameters } from './linear.ts';
import { base3Helpers, eachCode } from './linear-codes.ts';

// Packed linears for many tokens (prefill). A workgroup computes 64 rows for 32 tokens: codes are unpacked once into workgroup memory, the activations of the tile stand beside
// them, and a thread has four rows (one of each row group) for four tokens in its registers, so that two reads of 16 bytes serve sixteen products. Blocks are walked in order, so that
// y of the integer path has the CPU's bits here too.

/** Row groups and tokens of a workgroup. */
export const linearTile = { rowGroups: 4, tokens: 32 } as const;

/** A thread has one row of each row group. */
const tokensPerThread = 4;
const slices = linearTile.tokens / tokensPerThread;
const threads = 16 * slices;
/** Words of four columns of a block, and of a line. */
const wordsPerBlock = 32;
const wordsPerLine = 8;
/** From one word's activations to the next in workgroup memory: one more than there are, so that threads that write them meet in no bank. */
const integerStride = slices + 1;
const floatStride = linearTile.tokens + 1;

export type TileVariant = Omit<GridVariant, 'tokensPerTile' | 'slices'>;

/** Whether there is a kernel of this kind: strips of base 3 (20 columns) do not fit the lines by which the float path goes. */
export const hasLinearTile = ({ path, codes }: Pick<TileVariant, 'path' | 'codes'>): boolean =>
  path === 'integer' || codes.kind === 'planes';

const each = (text: (t: number) => string) => unrolled(tokensPerThread, text);
/** A vector of one value for each of the thread's rows: `text` of a row group. */
const byGroup = (type: string, text: (group: string) => string) =>
  `vec4${type}(${Array.from({ length: linearTile.rowGroups }, (_, g) => text(`(first_group + ${g}u)`)).join(', ')})`;

/** Planes of a line as they are stored, a vector of row groups each. */
const planesOfLine = (planes: number) =>
  unrolled(
    planes,
    (plane) =>
      `let plane${plane} = ${byGroup('u', (group) => `weights[((${group} * p.lines + line) * ${planes}u + ${plane}u) * 16u + row]`)};`,
  );
const codeOfBit = (planes: number) =>
  Array.from(
    { length: planes },
    (_, plane) => `(((plane${plane} >> vec4u(bit)) & vec4u(0x01010101u)) << vec4u(${plane}u))`,
  ).join(' | ');

/** Fills `codes` with those of the block, whole bytes, and `inputs` with x̂ of the tile. */
function loadIntegers(codes: TileVariant['codes']): string {
  const unpack =
    codes.kind === 'planes'
      ? `
    let line = 4u * block + slice / 2u;
    if (line < p.lines) {
      ${planesOfLine(codes.planes)}
      let first_bit = 4u * (slice % 2u);
      for (var bit = first_bit; bit < first_bit + 4u; bit += 1u) {
        codes[(${wordsPerLine}u * (slice / 2u) + bit) * 16u + row] = ${codeOfBit(codes.planes)};
      }
    }`
      : `
    for (var g = 0u; g < ${linearTile.rowGroups}u; g += 1u) {
      let group = first_group + g;
      ${eachCode(codes, 'codes[word * 16u + row][g] = code;', { first: 'slice', step: `${slices}u` })}
    }`;
  const inputs = Array.from(
    { length: tokensPerThread },
    (_, t) => `x[((first + 4u * four + ${t}u) * p.blocks + block) * ${wordsPerBlock}u + word]`,
  );
  return `
    for (var i = 16u * slice + row; i < ${wordsPerBlock * slices}u; i += ${threads}u) {
      let word = i % ${wordsPerBlock}u;
      let four = i / ${wordsPerBlock}u;
      inputs[word * ${integerStride}u + four] = vec4u(${inputs.join(', ')});
    }
    ${unpack}`;
}

/** Integers of the block and their share of the sums. */
function integerBlock({ codes, offsets, record, activationScales }: TileVariant): string {
  const isWide = codes.kind === 'planes' && codes.planes > 7;
  const byBlock = activationScales === 'block';
  const products = (t: number) => {
    const x = `x_word[${t}]`;
    const of = (name: string) =>
      `vec4i(${['x', 'y', 'z', 'w'].map((row) => `dot4(${name}.${row}, ${x})`).join(', ')})`;
    return isWide ? `integer${t} += ${of('low')} + 128 * ${of('high')};` : `integer${t} += ${of('code')};`;
  };
  const addend = (product: string) => (byBlock ? `rounded4(${product}) * block_scale` : product);
  return `
    ${each((t) => `var integer${t} = vec4i(0);`)}
    for (var word = 0u; word < ${wordsPerBlock}u; word += 1u) {
      let code = codes[word * 16u + row];
      ${isWide ? 'let low = code & vec4u(0x7f7f7f7fu); let high = (code >> vec4u(7u)) & vec4u(0x01010101u);' : ''}
      let x_word = inputs[word * ${integerStride}u + slice];
      ${each(products)}
    }
    ${each(
      (t) => `{
      let side_at = ${sideOf(activationScales, `(own + ${t}u)`, 'p.blocks')} + block;
      let block_sum = bitcast<i32>(side[side_at]);
      ${byBlock ? 'let block_scale = bitcast<f32>(side[side_at + p.blocks]);' : ''}
      let integer = 2 * integer${t} - vec4i(p.levels_less_one * block_sum);
      ${record ? recordOf(t) : ''}
      sum${t} += rounded4(${addend('scale * vec4f(integer)')});
      ${offsets ? `sum${t} += rounded4(${addend('offset * f32(2 * block_sum)')});` : ''}
    }`,
    )}`;
}

const recordOf = (t: number) => `
      for (var g = 0u; g < ${linearTile.rowGroups}u; g += 1u) {
        if (own + ${t}u < chunk.tokens && first_group + g < p.row_groups) {
          let out = p.first_row + 16u * (first_group + g) + row;
          integers[((own + ${t}u) * p.stride + out) * p.blocks + block] = integer[g];
        }
      }`;

/** The float path: line by line, weights as numbers in workgroup memory. */
function floatBlock(planes: number, offsets: boolean): string {
  return `
    for (var line = 4u * block; line < min(4u * block + 4u, p.lines); line += 1u) {
      for (var i = 16u * slice + row; i < ${wordsPerLine * linearTile.tokens}u; i += ${threads}u) {
        let word = i % ${wordsPerLine}u;
        let token = i / ${wordsPerLine}u;
        inputs[word * ${floatStride}u + token] =
          x[((first + token) * p.blocks + block) * ${wordsPerBlock}u + ${wordsPerLine}u * (line - 4u * block) + word];
      }
      {
        let bit = slice;
        ${planesOfLine(planes)}
        let code = ${codeOfBit(planes)};
        ${unrolled(
          linearTile.rowGroups,
          (g) =>
            `numbers[bit * 64u + ${16 * g}u + row] = scale[${g}] * (unsigned4(code[${g}]) - centre)${offsets ? ` + offset[${g}]` : ''};`,
        )}
      }
      workgroupBarrier();
      for (var word = 0u; word < ${wordsPerLine}u; word += 1u) {
        ${unrolled(linearTile.rowGroups, (g) => `let weight${g} = numbers[word * 64u + ${16 * g}u + row];`)}
        ${each(
          (t) => `{
          let x_word = inputs[word * ${floatStride}u + ${tokensPerThread}u * slice + ${t}u];
          sum${t} += vec4f(${[0, 1, 2, 3].map((g) => `dot(weight${g}, x_word)`).join(', ')});
        }`,
        )}
      }
      workgroupBarrier();
    }`;
}

/** Writes y of the thread's rows and tokens. */
function writeTile({ path, rowScale, accumulate, activationScales }: TileVariant): string {
  const halfScale =
    activationScales === 'block'
      ? '0.5'
      : `(0.5 * bitcast<f32>(side[${sideOf('token', 'token', 'p.blocks')} + p.blocks]))`;
  const scaled = path === 'integer' ? `${halfScale} * total` : 'total';
  const value = rowScale ? `(${scaled}) * vectors[p.row_scale_at + out]` : scaled;
  return each(
    (t) => `
  for (var g = 0u; g < ${linearTile.rowGroups}u; g += 1u) {
    let token = own + ${t}u;
    if (token < chunk.tokens && first_group + g < p.row_groups) {
      let out = p.first_row + 16u * (first_group + g) + row;
      let total = sum${t}[g];
      let at = token * p.stride + out;
      y[at] = ${accumulate ? 'y[at]' : 'vectors[out]'} + rounded(${value});
    }
  }`,
  );
}

/** The same y as `gridKernel` (linear.ts), and the same `integers`. Throws where there is no such kernel (`hasLinearTile`). */
export function gridTileKernel(variant: TileVariant): Kernel {
  const { path, codes, offsets, rowScale, packedDot, accumulate, record, activationScales } = variant;
  const isInteger = path === 'integer';
  if (!isInteger && codes.kind !== 'planes') throw new Error('base 3 has no tile of the float path');
  const storage = isInteger
    ? `var<workgroup> codes: array<vec4u, ${wordsPerBlock * 16}>;
var<workgroup> inputs: array<vec4u, ${wordsPerBlock * integerStride}>;`
    : `var<workgroup> numbers: array<vec4f, ${wordsPerLine * 64}>;
var<workgroup> inputs: array<vec4f, ${wordsPerLine * floatStride}>;`;
  const value = (at: string) =>
    byGroup('f', (group) => `half(p.${at}, (${group} * p.blocks + block) * 16u + row)`);
  const marks = {
    offsets,
    'row-scale': rowScale,
    'block-scales': isInteger && activationScales === 'block',
    dot: packedDot,
    accumulate,
    record,
  };
  const names = Object.entries(marks).flatMap(([name, isSet]) => (isSet ? [name] : []));
  return kernel({
    key: ['grid tile', path, codes.kind === 'planes' ? codes.planes : codes.kind, ...names].join(' '),
    parameters: linearParameters,
    buffers: linearBuffers(variant),
    workgroup: [16, slices],
    declarations: `${dot4(packedDot)}${halfValues}${unsignedBytes}${codes.kind === 'base-3' ? base3Helpers : ''}${rounding}
fn rounded4(x: vec4f) -> vec4f { return bitcast<vec4f>(bitcast<vec4u>(x) ^ vec4u(chunk.zero)); }
${storage}`,
    body: `
  let row = local.x;
  let slice = local.y;
  let first_group = ${linearTile.rowGroups}u * workgroup.x;
  let first = workgroup.y * ${linearTile.tokens}u;
  let own = first + ${tokensPerThread}u * slice;
  ${each((t) => `var sum${t} = vec4f(0.0);`)}
  ${isInteger ? '' : 'let centre = vec4f(0.5 * f32(p.levels_less_one));'}
  for (var block = 0u; block < p.blocks; block += 1u) {
    let scale = ${value('scales_at')};
    ${offsets ? `let offset = ${value('offsets_at')};` : ''}
    ${
      isInteger
        ? `${loadIntegers(codes)}
    workgroupBarrier();
    ${integerBlock(variant)}
    workgroupBarrier();`
        : floatBlock(codes.kind === 'planes' ? codes.planes : 0, offsets)
    }
  }
  ${writeTile(variant)}`,
  });
}
