import { reductionBuiltins, reductionExtensions, reductionStart, reductions } from './reductions.ts';

/**
 * A compute kernel as text. Every kernel has the chunk's state at binding 0, its own parameters (numbers of four bytes) at binding 1 and
 * storage buffers behind them.
 */
export interface Kernel {
  /** Names the kernel and everything it was made with; kernels of one key have one text. */
  readonly key: string;
  /** Its text, for a device whose threads reduce in subgroups of so many (reductions.ts), or through memory alone where that is 0. */
  wgsl(subgroupWidth: number): string;
  /** Access of the storage buffers, in order. */
  readonly buffers: readonly Access[];
  /** Names of the parameters, in order. */
  readonly parameters: readonly string[];
  /** Which parameters are float32. */
  readonly floatParameters: readonly string[];
}

export type Access = 'read' | 'write';

/** The state of a chunk, written before each submission. `uniform` of binding 0. `zero` is 0, which compilers cannot know (arithmetic.ts). */
export const chunkFields = ['tokens', 'position', 'head_first', 'head_rows', 'zero'] as const;

/** Words of the buffer `status`, which kernels set to 1: an input of a linear is not finite; a key or value is beyond a float16 cache. */
export const statusWords = { notFinite: 0, beyondHalf: 1 } as const;

/** Which rows a kernel works on: the tokens of the chunk, or those of them that enter the head. */
export type Rows = 'tokens' | 'head_rows';

interface KernelText {
  key: string;
  /** `name: u32`, `name: i32` or `name: f32`. */
  parameters: readonly string[];
  /** Storage buffers: name, access, element type. */
  buffers: readonly (readonly [name: string, access: Access, type: string])[];
  workgroup: readonly [x: number, y?: number];
  /** Declares `reduce_sum`, `reduce_max` and `reduce_bits` over the threads of the workgroup, all in its first dimension. */
  reduces?: boolean;
  /** Functions and workgroup variables. */
  declarations?: string;
  /** Body of `main`, which has `workgroup` (vec3u) and `local` (vec3u). */
  body: string;
}

export function kernel(text: KernelText): Kernel {
  const { key, parameters, buffers, workgroup, reduces = false, declarations = '', body } = text;
  const storage = buffers.map(
    ([name, access, type], index) =>
      `@group(0) @binding(${index + 2}) var<storage, ${access === 'read' ? 'read' : 'read_write'}> ${name}: array<${type}>;`,
  );
  const wgsl = (subgroupWidth: number) => `${reduces ? reductionExtensions(subgroupWidth) : ''}
struct Chunk { ${chunkFields.map((field) => `${field}: u32`).join(', ')} }
struct Parameters { ${parameters.join(', ')} }
@group(0) @binding(0) var<uniform> chunk: Chunk;
@group(0) @binding(1) var<uniform> p: Parameters;
${storage.join('\n')}
${reduces ? reductions(workgroup[0], subgroupWidth) : ''}
${declarations}
@compute @workgroup_size(${workgroup[0]}, ${workgroup[1] ?? 1})
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u${reduces ? reductionBuiltins(subgroupWidth) : ''}) {
${reduces ? reductionStart(subgroupWidth) : ''}${body}
}
`;
  const split = parameters.map((parameter) => parameter.split(': ') as [string, string]);
  return {
    key,
    wgsl,
    buffers: buffers.map(([, access]) => access),
    parameters: split.map(([name]) => name),
    floatParameters: split.filter(([, type]) => type === 'f32').map(([name]) => name),
  };
}

/** `text` for 0 … count − 1, one after the other: loops whose counters must be constants, so that their variables stay in registers. */
export function unrolled(count: number, text: (index: number) => string): string {
  return Array.from({ length: count }, (_, index) => text(index)).join('\n');
}

/** Start of a kernel with a thread for each value of a row: `index`, below `count`. */
export const valueOfRow = (size: number, count: string): string => `
  let index = workgroup.x * ${size}u + local.x;
  if (index >= ${count}) { return; }`;

/** Sum of the products of four int8 pairs that stand in two u32. */
export function dot4(hasPackedDot: boolean): string {
  if (hasPackedDot) return 'fn dot4(a: u32, b: u32) -> i32 { return dot4I8Packed(a, b); }';
  return `
fn bytes4(a: u32) -> vec4i { return bitcast<vec4i>(vec4u(a) << vec4u(24, 16, 8, 0)) >> vec4u(24); }
fn dot4(a: u32, b: u32) -> i32 { return dot(bytes4(a), bytes4(b)); }`;
}

/** `half(name, index)`: value number `index` of the fp16 values that begin at word `at` of the storage buffer `weights`. */
export const halfValues = `
fn half(at: u32, index: u32) -> f32 { return unpack2x16float(weights[at + index / 2u])[index % 2u]; }`;

/** `unsigned4(a)`: the four bytes of a u32 as numbers 0 … 255. */
export const unsignedBytes = `
fn unsigned4(a: u32) -> vec4f { return vec4f((vec4u(a) >> vec4u(0, 8, 16, 24)) & vec4u(255)); }`;
