import type { ActivationScales } from '../../../quantize/recipe.ts';
import { sideOf } from './activations.ts';
import { rounding } from './arithmetic.ts';
import { type Access, dot4, halfValues, type Kernel, kernel, unrolled, unsignedBytes } from './kernel.ts';
import { base3Helpers, eachCode, type GridCodes } from './linear-codes.ts';

// Packed linears for one token or few (linear-tile.ts has those for many). A workgroup computes a row group of 16 rows for a tile of tokens: thread (row, slice) walks every `slices`-th block of 128 columns, whose integer part
// it has whole and exact; on the integer path the blocks are added in order, so that y has the CPU's bits, on the float path the slices' sums.

export interface LinearVariant {
  /** int8 activations, or float ones (16 bits). */
  path: 'integer' | 'float';
  tokensPerTile: number;
  slices: number;
  packedDot: boolean;
  /** Adds to y instead of setting it: residual columns. */
  accumulate: boolean;
  /** Writes the integer part of each block too, for checks. */
  record: boolean;
}

export interface GridVariant extends LinearVariant {
  codes: GridCodes;
  offsets: boolean;
  rowScale: boolean;
  /** One s for each token, or for each token and block of 128 columns; of no account on the float path. */
  activationScales: ActivationScales;
}

/** Of every kernel of a linear. */
export const linearParameters = [
  'columns: u32',
  'blocks: u32',
  'lines: u32',
  /** Base 3: bytes of a row. */
  'row_bytes: u32',
  'levels_less_one: i32',
  /** Words of the weights at which fp16 values begin. */
  'scales_at: u32',
  'offsets_at: u32',
  'mask_at: u32',
  /** First row of this part of the linear. */
  'first_row: u32',
  /** Of y, and rows of all parts. */
  'stride: u32',
  /** Value of the vectors at which the row scale begins. */
  'row_scale_at: u32',
  /** Of this part. */
  'row_groups: u32',
] as const;

/** Storage buffers of every kernel of a linear: they differ by path alone. */
export function linearBuffers({
  path,
  record,
}: Pick<LinearVariant, 'path' | 'record'>): (readonly [string, Access, string])[] {
  return [
    ...(path === 'integer'
      ? ([
          ['x', 'read', 'u32'],
          ['side', 'read', 'u32'],
        ] as const)
      : ([['x', 'read', 'vec4f']] as const)),
    ['weights', 'read', 'u32'],
    ['vectors', 'read', 'f32'],
    ['y', 'write', 'f32'],
    ...(record ? ([['integers', 'write', 'i32']] as const) : []),
  ];
}

/** Four activations of token `t` of the tile: of `word` of the block. */
const xWord = (t: number) => `x[((first + ${t}u) * p.blocks + block) * 32u + word]`;
/** X of the block, s of the block and s of `token`: what stands beside x̂ (activations.ts). */
const blockSum = (t: number, scales: ActivationScales) =>
  `bitcast<i32>(side[${sideOf(scales, `(first + ${t}u)`, 'p.blocks')} + block])`;
const blockScale = (t: number) =>
  `bitcast<f32>(side[${sideOf('block', `(first + ${t}u)`, 'p.blocks')} + p.blocks + block])`;
const tokenScale = `bitcast<f32>(side[${sideOf('token', 'token', 'p.blocks')} + p.blocks])`;

/**
 * Bytes of workgroup memory for the addends of blocks, where a block of each slice does not take more. A round of so many is long enough that its barriers do not count; WebGPU
 * sets workgroup memory to zero, which SwiftShader compiles into one instruction after the other.
 */
export const addendBytes = 2048;

/**
 * How the addends of a row are summed: in the order of the blocks, each rounded before it is added, as on the CPU (kernel_table.h). With several slices they pass through
 * workgroup memory, the blocks of a round together, where one thread adds those of a row and token.
 */
interface Summation {
  perBlock: number;
  blocksPerRound: number;
}

function summationOf({ slices, tokensPerTile }: LinearVariant, perBlock: number): Summation {
  const bytesOfRound = slices * perBlock * tokensPerTile * 16 * 4;
  return { perBlock, blocksPerRound: slices * Math.max(1, Math.floor(addendBytes / bytesOfRound)) };
}

/** Start of every linear's main. */
const start = (tokensPerTile: number) => `
  let group = workgroup.x;
  let first = workgroup.y * ${tokensPerTile}u;
  let row = local.x;
  let out = p.first_row + 16u * group + row;
  ${unrolled(tokensPerTile, (t) => `var sum${t} = 0.0;`)}`;

/** Writes y of row `out` and token `first` + t; `value` gives it from `total` and `token`. */
const writeRow = (t: string, total: string, accumulate: boolean, value: string) => `
    if (first + ${t} < chunk.tokens) {
      let token = first + ${t};
      let total = ${total};
      let at = token * p.stride + out;
      y[at] = ${accumulate ? 'y[at]' : 'vectors[out]'} + rounded(${value});
    }`;

/** Addend number `index` of the block, for token `t` of the tile. */
function add(
  { slices, tokensPerTile }: LinearVariant,
  sum: Summation,
  t: number,
  index: number,
  product: string,
) {
  if (slices === 1) return `sum${t} += rounded(${product});`;
  return `addends[(((block - round_first) * ${sum.perBlock}u + ${index}u) * ${tokensPerTile}u + ${t}u) * 16u + row] = ${product};`;
}

/** All blocks of a row, `take` being one block's work, and y from their sum. */
function overBlocks(variant: LinearVariant, sum: Summation, take: string, value: string): string {
  const { path, tokensPerTile, slices, accumulate } = variant;
  if (path === 'float' || slices === 1)
    return `
  for (var block = local.y; block < p.blocks; block += ${slices}u) {
    ${take}
  }
  ${path === 'float' ? finishFloat(variant, value) : unrolled(tokensPerTile, (t) => writeRow(`${t}u`, `sum${t}`, accumulate, value))}`;
  // Tokens of the tile whose sums a thread keeps: `slices` apart.
  const owned = Math.ceil(tokensPerTile / slices);
  const eachOwned = (text: (t: string, index: number) => string) =>
    unrolled(
      owned,
      (index) =>
        `if (local.y + ${index * slices}u < ${tokensPerTile}u) { ${text(`(local.y + ${index * slices}u)`, index)} }`,
    );
  return `
  ${unrolled(owned, (index) => `var total${index} = 0.0;`)}
  for (var round_first = 0u; round_first < p.blocks; round_first += ${sum.blocksPerRound}u) {
    let round_last = min(round_first + ${sum.blocksPerRound}u, p.blocks);
    for (var block = round_first + local.y; block < round_last; block += ${slices}u) {
      ${take}
    }
    workgroupBarrier();
    let count = (round_last - round_first) * ${sum.perBlock}u;
    ${eachOwned(
      (t, index) =>
        `for (var i = 0u; i < count; i += 1u) { total${index} += addends[(i * ${tokensPerTile}u + ${t}) * 16u + row]; }`,
    )}
    workgroupBarrier();
  }
  ${eachOwned((t, index) => writeRow(t, `total${index}`, accumulate, value))}`;
}

/** Float path: adds the slices' sums and writes y. */
function finishFloat({ tokensPerTile, slices, accumulate }: LinearVariant, value: string): string {
  const write = (t: number) => {
    const others = Array.from(
      { length: slices - 1 },
      (_, s) => ` + partial[(${s + 1}u * 16u + row) * ${tokensPerTile}u + ${t}u]`,
    );
    return writeRow(`${t}u`, `sum${t}${others.join('')}`, accumulate, value);
  };
  if (slices === 1) return unrolled(tokensPerTile, write);
  return `
  ${unrolled(tokensPerTile, (t) => `partial[(local.y * 16u + row) * ${tokensPerTile}u + ${t}u] = sum${t};`)}
  workgroupBarrier();
  if (local.y == 0u) {
    ${unrolled(tokensPerTile, write)}
  }`;
}

const workgroupSums = ({ path, slices, tokensPerTile }: LinearVariant, sum: Summation) => {
  if (slices === 1) return '';
  const [name, words] =
    path === 'float'
      ? ['partial', slices * 16 * tokensPerTile]
      : ['addends', sum.blocksPerRound * sum.perBlock * 16 * tokensPerTile];
  return `var<workgroup> ${name}: array<f32, ${words}>;`;
};

const keyOf = ({ path, tokensPerTile, slices, packedDot, accumulate, record }: LinearVariant) =>
  [
    path,
    `${tokensPerTile}×${slices}`,
    packedDot ? 'dot' : 'plain',
    accumulate && 'accumulate',
    record && 'record',
  ]
    .filter(Boolean)
    .join(' ');

/**
 * y = bias + s/2 · Σ_b ( r·(2·Σ q·x̂ − (L − 1)·X) [+ m·2·X] ), or y = bias + Σ w·x with w = r·(q − (L − 1)/2) [+ m]; with a row scale t the sum is multiplied
 * by it (docs/format.md sections 3 and 6). Where s is by block, each product of the sum is multiplied by that of its block, and s/2 is 1/2. `integers`
 * `[tokens, stride, blocks]`.
 */
export function gridKernel(variant: GridVariant): Kernel {
  const { path, tokensPerTile, codes, offsets, rowScale, slices, packedDot, record, activationScales } =
    variant;
  const byBlock = path === 'integer' && activationScales === 'block';
  const addend = (product: string) => (byBlock ? `rounded(${product}) * block_scale` : product);
  const hasHigh = codes.kind === 'planes' && codes.planes > 7;
  const sum = summationOf(variant, offsets ? 2 : 1);
  const take =
    path === 'integer'
      ? unrolled(
          tokensPerTile,
          (t) => `{
          let x_word = ${xWord(t)};
          integer${t} += dot4(code, x_word)${hasHigh ? ' + 128 * dot4(high, x_word)' : ''};
        }`,
        )
      : `
        let weight = scale * (unsigned4(code${hasHigh ? ' | (high << 7u)' : ''}) - centre)${offsets ? ' + offset' : ''};
        ${unrolled(tokensPerTile, (t) => `sum${t} += dot(weight, ${xWord(t)});`)}`;
  const beforeBlock =
    path === 'integer'
      ? unrolled(tokensPerTile, (t) => `var integer${t} = 0;`)
      : 'let centre = vec4f(0.5 * f32(p.levels_less_one));';
  const afterBlock =
    path === 'float'
      ? ''
      : unrolled(
          tokensPerTile,
          (t) => `{
      let block_sum = ${blockSum(t, activationScales)};
      ${byBlock ? `let block_scale = ${blockScale(t)};` : ''}
      let integer = 2 * integer${t} - p.levels_less_one * block_sum;
      ${record ? `if (first + ${t}u < chunk.tokens) { integers[((first + ${t}u) * p.stride + out) * p.blocks + block] = integer; }` : ''}
      ${add(variant, sum, t, 0, addend('scale * f32(integer)'))}
      ${offsets ? add(variant, sum, t, 1, addend('offset * f32(2 * block_sum)')) : ''}
    }`,
        );
  const halfScale = byBlock ? '0.5' : `(0.5 * ${tokenScale})`;
  const scaled = path === 'integer' ? `${halfScale} * total` : 'total';
  return kernel({
    key: `grid ${codes.kind === 'planes' ? codes.planes : 'base-3'}${offsets ? ' offsets' : ''}${rowScale ? ' row-scale' : ''}${byBlock ? ' block-scales' : ''} ${keyOf(variant)}`,
    parameters: linearParameters,
    buffers: linearBuffers(variant),
    workgroup: [16, slices],
    declarations: `${dot4(packedDot)}${halfValues}${unsignedBytes}
${codes.kind === 'base-3' ? base3Helpers : ''}
${rounding}${workgroupSums(variant, sum)}`,
    body: `${start(tokensPerTile)}${overBlocks(
      variant,
      sum,
      `
    let value_at = (group * p.blocks + block) * 16u + row;
    let scale = half(p.scales_at, value_at);
    ${offsets ? 'let offset = half(p.offsets_at, value_at);' : ''}
    ${beforeBlock}
    ${eachCode(codes, take)}
    ${afterBlock}`,
      rowScale ? `(${scaled}) * vectors[p.row_scale_at + out]` : scaled,
    )}`,
  });
}

/**
 * The structured layout: y = bias + s · Σ_b Σ levels · sums of the columns that have them, ordinary columns first; or with float activations the level of each column
 * times x. `integers` `[tokens, stride, blocks, 6]`: sums of plane A, plane B and both over the ordinary columns, then over the salient ones.
 */
export function structuredKernel(variant: LinearVariant): Kernel {
  const { path, tokensPerTile, slices, packedDot, record } = variant;
  const sums = ['a', 'b', 'ab', 'salient_a', 'salient_b', 'salient_ab'] as const;
  const take =
    path === 'integer'
      ? unrolled(
          tokensPerTile,
          (t) => `{
          let x_word = ${xWord(t)};
          let salient_x = x_word & salient;
          let ordinary_x = x_word & ~salient;
          a${t} += dot4(plane_a, ordinary_x);
          b${t} += dot4(plane_b, ordinary_x);
          ab${t} += dot4(plane_a & plane_b, ordinary_x);
          salient_a${t} += dot4(plane_a, salient_x);
          salient_b${t} += dot4(plane_b, salient_x);
          salient_ab${t} += dot4(plane_a & plane_b, salient_x);
          salient_sum${t} += dot4(0x01010101u, salient_x);
        }`,
        )
      : `
        let is_a = (vec4u(plane_a) & vec4u(0x1u, 0x100u, 0x10000u, 0x1000000u)) != vec4u(0);
        let is_b = (vec4u(plane_b) & vec4u(0x1u, 0x100u, 0x10000u, 0x1000000u)) != vec4u(0);
        let is_salient = (vec4u(salient) & vec4u(0x1u, 0x100u, 0x10000u, 0x1000000u)) != vec4u(0);
        let ordinary = select(select(vec4f(l00), vec4f(l10), is_a), select(vec4f(l01), vec4f(l11), is_a), is_b);
        let special = select(select(vec4f(s00), vec4f(s10), is_a), select(vec4f(s01), vec4f(s11), is_a), is_b);
        let weight = select(ordinary, special, is_salient);
        ${unrolled(tokensPerTile, (t) => `sum${t} += dot(weight, ${xWord(t)});`)}`;
  const sum = summationOf(variant, 8);
  const levels = (t: number, prefix: '' | 'salient_', name: 'l' | 's', total: string) => {
    const integers = [
      `${total} - ${prefix}a${t} - ${prefix}b${t} + ${prefix}ab${t}`,
      `${prefix}a${t} - ${prefix}ab${t}`,
      `${prefix}b${t} - ${prefix}ab${t}`,
      `${prefix}ab${t}`,
    ];
    return ['00', '10', '01', '11']
      .map((level, index) =>
        add(variant, sum, t, index + (name === 's' ? 4 : 0), `${name}${level} * f32(${integers[index]})`),
      )
      .join('\n');
  };
  const afterBlock =
    path === 'float'
      ? ''
      : unrolled(
          tokensPerTile,
          (t) => `{
      let block_sum = ${blockSum(t, 'token')};
      ${
        record
          ? `if (first + ${t}u < chunk.tokens) {
        let integer_at = (((first + ${t}u) * p.stride + out) * p.blocks + block) * 6u;
        ${sums.map((name, index) => `integers[integer_at + ${index}u] = ${name}${t};`).join('\n')}
      }`
          : ''
      }
      ${levels(t, '', 'l', `block_sum - salient_sum${t}`)}
      ${levels(t, 'salient_', 's', `salient_sum${t}`)}
    }`,
        );
  const value = path === 'integer' ? `${tokenScale} * total` : 'total';
  return kernel({
    key: `structured ${keyOf(variant)}`,
    parameters: linearParameters,
    buffers: linearBuffers(variant),
    workgroup: [16, slices],
    declarations: `${dot4(packedDot)}${halfValues}
${rounding}${workgroupSums(variant, sum)}`,
    body: `${start(tokensPerTile)}${overBlocks(
      variant,
      sum,
      `
    let value_at = (group * p.blocks + block) * 7u * 16u + row;
    ${unrolled(7, (i) => `let v${i} = half(p.scales_at, value_at + ${16 * i}u);`)}
    let l00 = v0 - v1;
    let l10 = v0 + v1;
    let l01 = v2 - v3;
    let l11 = v2 + v3;
    let s00 = (v4 - v5) - v6;
    let s10 = (v4 + v5) - v6;
    let s01 = (v4 - v5) + v6;
    let s11 = (v4 + v5) + v6;
    ${path === 'integer' ? unrolled(tokensPerTile, (t) => `${sums.map((name) => `var ${name}${t} = 0;`).join(' ')} var salient_sum${t} = 0;`) : ''}
    for (var line = 4u * block; line < min(4u * block + 4u, p.lines); line += 1u) {
      let first_word = (group * p.lines + line) * 32u + row;
      let word_a = weights[first_word];
      let word_b = weights[first_word + 16u];
      let mask = weights[p.mask_at + line];
      for (var bit = 0u; bit < 8u; bit += 1u) {
        let plane_a = (word_a >> bit) & 0x01010101u;
        let plane_b = (word_b >> bit) & 0x01010101u;
        let salient = (((((mask >> (4u * bit)) & 15u) * 0x00204081u) & 0x01010101u) * 255u);
        let word = 8u * (line - 4u * block) + bit;
        ${take}
      }
    }
    ${afterBlock}`,
      value,
    )}`,
  });
}
