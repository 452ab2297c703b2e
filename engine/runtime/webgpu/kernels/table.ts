import { gpuLimits } from '../limits.ts';
import { rounding } from './arithmetic.ts';
import { dot4, halfValues, type Kernel, kernel, type Rows, unrolled } from './kernel.ts';
import { addendBytes } from './linear.ts';

// Tables `[rows, columns]`: embedding, learned positions, projections, LM head. Their storage is that of docs/format.md section 4; a table that is larger than a
// buffer may be is cut by rows.

export type TableType = 'F32' | 'F16' | 'I8' | 'Q6' | 'Q4';

/** Tables of float values take float activations. */
export const isFloatTable = (type: TableType): boolean => type === 'F32' || type === 'F16';
/** Stored in row groups of 16 rows, several codes in a byte. */
const isPackedTable = (type: TableType): boolean => type === 'Q6' || type === 'Q4';

const size = gpuLimits.workgroupSize;

/** `value_of(row, column)` of the part of a table that `weights` holds. */
const valueText: Record<TableType, string> = {
  F32: 'return bitcast<f32>(weights[row * p.columns + column]);',
  F16: 'return half(0u, row * p.columns + column);',
  I8: `
  let word = weights[(row * p.groups + column / 32u) * 8u + (column % 32u) / 4u];
  let code = bitcast<i32>(word << (24u - 8u * (column % 4u))) >> 24u;
  return rounded(half(p.scales_at, row * p.groups + column / 32u) * f32(code));`,
  Q6: packedValue(6),
  Q4: packedValue(4),
};

function packedValue(bits: 6 | 4): string {
  return `
  let group = (row / 16u) * p.groups + column / 32u;
  let k = column % 32u;
  let upper = k / 16u;
  let quad = (k % 16u) / 4u;
  let shift = 8u * (k % 4u);
  let lane = row % 16u;
  var field = i32((weights[(group * ${bits}u + quad) * 16u + lane] >> (shift + 4u * upper)) & 15u);
  ${bits === 6 ? 'field |= i32((weights[(group * 6u + 4u + upper) * 16u + lane] >> (shift + 2u * quad)) & 3u) << 4u;' : ''}
  return rounded(half(p.scales_at, group * 16u + lane) * f32(field - ${2 ** (bits - 1)}));`;
}

/**
 * Rows of a table to `out` `[tokens, stride]`: those of the chunk's ids, or with `positions` those of the chunk's positions + `p.offset`, which are added to what stands
 * there. Only rows that this part of the table holds are touched.
 */
export function lookupKernel(type: TableType, positions: boolean): Kernel {
  return kernel({
    key: `lookup ${type}${positions ? ' positions' : ''}`,
    parameters: [
      'columns: u32',
      'groups: u32',
      'scales_at: u32',
      'first_row: u32',
      'rows: u32',
      'stride: u32',
      'offset: u32',
    ],
    buffers: [
      ...(positions ? [] : ([['ids', 'read', 'u32']] as const)),
      ['weights', 'read', 'u32'],
      ['out', 'write', 'f32'],
    ],
    workgroup: [size],
    declarations: `${rounding}${halfValues}
fn value_of(row: u32, column: u32) -> f32 { ${valueText[type]} }`,
    body: `
  let column = workgroup.x * ${size}u + local.x;
  let token = workgroup.y;
  let table_row = ${positions ? 'chunk.position + token + p.offset' : 'ids[token]'};
  if (column >= p.columns || table_row < p.first_row || table_row >= p.first_row + p.rows) { return; }
  let value = value_of(table_row - p.first_row, column);
  out[token * p.stride + column] ${positions ? '+=' : '='} value;`,
  });
}

export interface ProductVariant {
  type: TableType;
  rows: Rows;
  tokensPerTile: number;
  packedDot: boolean;
  bias: boolean;
}

const productParameters = [
  'columns: u32',
  'groups: u32',
  'scales_at: u32',
  /** First row of this part, and rows of the whole table. */
  'first_row: u32',
  'rows: u32',
  'stride: u32',
  'x_stride: u32',
] as const;

/** Threads of a row whose storage is row after row; rows of a workgroup. */
const lanes = 16;
const rowsPerWorkgroup = 4;
const packedSlices = 4;

/** Rows that a workgroup computes. */
export const rowsOfProduct = (type: TableType): number => (isPackedTable(type) ? 16 : rowsPerWorkgroup);

/**
 * y = x Wᵀ [+ bias]. Float tables (F32, F16) take float x `[rows, x_stride]`; tables of 8, 6 and 4 bits take x̂ and its side (activations.ts, groups of 32):
 * y = s · Σ_g scale_g · Σ code·x̂, the inner sums exact, the outer one in the order of the groups, each product rounded before it is added, as on the CPU.
 */
export function productKernel(variant: ProductVariant): Kernel {
  const { type, rows, tokensPerTile, packedDot, bias } = variant;
  const isFloat = isFloatTable(type);
  const isPacked = isPackedTable(type);
  const across = isPacked ? packedSlices : lanes;
  const lane = isPacked ? 'local.y' : 'local.x';
  const rowLane = isPacked ? 'local.x' : 'local.y';
  const perWorkgroup = rowsOfProduct(type);
  const x = (t: number, word: string) => `x[((first + ${t}u) * p.groups + group) * 8u + ${word}]`;
  const loop = isFloat
    ? `
    for (var column = ${lane}; column < p.columns; column += ${across}u) {
      let weight = ${type === 'F16' ? 'half(0u, part_row * p.columns + column)' : 'bitcast<f32>(weights[part_row * p.columns + column])'};
      ${unrolled(tokensPerTile, (t) => `sum${t} += weight * x[(first + ${t}u) * p.x_stride + column];`)}
    }`
    : `
    for (var group = round_first + ${lane}; group < round_last; group += ${across}u) {
      ${unrolled(tokensPerTile, (t) => `var integer${t} = 0;`)}
      ${isPacked ? packedCodes(type, tokensPerTile, x) : byteCodes(tokensPerTile, x)}
      let scale = half(p.scales_at, ${isPacked ? '((part_row / 16u) * p.groups + group) * 16u + part_row % 16u' : 'part_row * p.groups + group'});
      ${unrolled(
        tokensPerTile,
        (t) =>
          `addends[((group - round_first) * ${tokensPerTile}u + ${t}u) * ${perWorkgroup}u + ${rowLane}] = scale * f32(${
            isPacked
              ? `integer${t} - ${type === 'Q6' ? 32 : 8} * bitcast<i32>(side[(first + ${t}u) * (p.groups + 1u) + group])`
              : `integer${t}`
          });`,
      )}
    }`;
  const write = (t: string, total: string) => `if (first + ${t} < chunk.${rows}) {
      let token = first + ${t};
      var total = ${total};
      ${isFloat ? `for (var s = 1u; s < ${across}u; s += 1u) { total += addends[(s * ${perWorkgroup}u + ${rowLane}) * ${tokensPerTile}u + ${t}]; }` : 'total *= bitcast<f32>(side[token * (p.groups + 1u) + p.groups]);'}
      y[token * p.stride + row] = ${bias ? 'rounded(total) + biases[row]' : 'total'};
    }`;
  const words = across * perWorkgroup * tokensPerTile;
  const groupsPerRound = across * Math.max(1, Math.floor(addendBytes / (4 * words)));
  // Tokens of the tile whose sums a thread keeps: `across` apart.
  const owned = Math.ceil(tokensPerTile / across);
  const eachOwned = (text: (t: string, index: number) => string) =>
    unrolled(
      owned,
      (index) =>
        `if (${lane} + ${index * across}u < ${tokensPerTile}u && row < p.rows) { ${text(`(${lane} + ${index * across}u)`, index)} }`,
    );
  return kernel({
    key: `product ${type} ${rows} ${tokensPerTile}${isFloat ? '' : packedDot ? ' dot' : ' plain'}${bias ? ' bias' : ''}`,
    parameters: productParameters,
    buffers: [
      ...(isFloat
        ? ([['x', 'read', 'f32']] as const)
        : ([
            ['x', 'read', 'u32'],
            ['side', 'read', 'u32'],
          ] as const)),
      ['weights', 'read', 'u32'],
      ...(bias ? ([['biases', 'read', 'f32']] as const) : []),
      ['y', 'write', 'f32'],
    ],
    workgroup: isPacked ? [16, packedSlices] : [lanes, rowsPerWorkgroup],
    declarations: `${dot4(packedDot)}${halfValues}
${rounding}
var<workgroup> addends: array<f32, ${isFloat ? words : (groupsPerRound / across) * words}>;`,
    body: `
  let first = workgroup.y * ${tokensPerTile}u;
  let part_row = (workgroup.x + workgroup.z * ${gpuLimits.workgroupsPerDimension}u) * ${perWorkgroup}u + ${rowLane};
  let row = p.first_row + part_row;
  ${
    isFloat
      ? `
  ${unrolled(tokensPerTile, (t) => `var sum${t} = 0.0;`)}
  if (row < p.rows) {
    ${loop}
  }
  ${unrolled(tokensPerTile, (t) => `addends[(${lane} * ${perWorkgroup}u + ${rowLane}) * ${tokensPerTile}u + ${t}u] = sum${t};`)}
  workgroupBarrier();
  if (${lane} == 0u && row < p.rows) {
    ${unrolled(tokensPerTile, (t) => write(`${t}u`, `sum${t}`))}
  }`
      : `
  ${unrolled(owned, (index) => `var sum${index} = 0.0;`)}
  for (var round_first = 0u; round_first < p.groups; round_first += ${groupsPerRound}u) {
    let round_last = min(round_first + ${groupsPerRound}u, p.groups);
    if (row < p.rows) {
      ${loop}
    }
    workgroupBarrier();
    ${eachOwned(
      (t, index) =>
        `for (var i = 0u; i < round_last - round_first; i += 1u) { sum${index} += addends[(i * ${tokensPerTile}u + ${t}) * ${perWorkgroup}u + ${rowLane}]; }`,
    )}
    workgroupBarrier();
  }
  ${eachOwned((t, index) => write(t, `sum${index}`))}`
  }`,
  });
}

function byteCodes(tokensPerTile: number, x: (t: number, word: string) => string): string {
  return `
      for (var word = 0u; word < 8u; word += 1u) {
        let code = weights[(part_row * p.groups + group) * 8u + word];
        ${unrolled(tokensPerTile, (t) => `integer${t} += dot4(code, ${x(t, 'word')});`)}
      }`;
}

/** Words of lines 0 … 3 have the lower four bits of columns 4q … (low half) and 16 + 4q … (high half) of a row; lines 4 and 5 the two bits above. */
function packedCodes(type: TableType, tokensPerTile: number, x: (t: number, word: string) => string): string {
  const bits = type === 'Q6' ? 6 : 4;
  const upper = (half: number) =>
    bits === 6 ? ` | (((upper${half} >> (2u * quad)) & 0x03030303u) << 4u)` : '';
  return `
      let first_word = ((part_row / 16u) * p.groups + group) * ${16 * bits}u + part_row % 16u;
      ${bits === 6 ? unrolled(2, (half) => `let upper${half} = weights[first_word + ${16 * (4 + half)}u];`) : ''}
      for (var quad = 0u; quad < 4u; quad += 1u) {
        let line = weights[first_word + 16u * quad];
        let low_code = (line & 0x0f0f0f0fu)${upper(0)};
        let high_code = ((line >> 4u) & 0x0f0f0f0fu)${upper(1)};
        ${unrolled(
          tokensPerTile,
          (t) => `integer${t} += dot4(low_code, ${x(t, 'quad')}) + dot4(high_code, ${x(t, '4u + quad')});`,
        )}
      }`;
}
