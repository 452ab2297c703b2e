// Reductions over the threads of a workgroup, in one order everywhere: halves are joined to halves, down to one value. Where threads of a subgroup can read one another's registers,
// the last steps go without workgroup memory and its barriers.

/** What a kernel's text begins with. */
export const reductionExtensions = (subgroupWidth: number): string =>
  subgroupWidth > 0 ? 'enable subgroups;' : '';

/** Parameters of `main` besides those of every kernel. */
export const reductionBuiltins = (subgroupWidth: number): string =>
  subgroupWidth > 0 ? ', @builtin(subgroup_invocation_id) subgroup_lane: u32' : '';

/** Beginning of `main`. */
export const reductionStart = (subgroupWidth: number): string =>
  subgroupWidth > 0 ? 'own_lane = subgroup_lane;' : '';

/**
 * `reduce_sum`, `reduce_max` and `reduce_bits` over the threads of a workgroup of `threads`, a power of two; every thread gets the result. In subgroups of `subgroupWidth` (a power
 * of two, or 0): a thread takes the values by its place in the subgroup, not by its own number, so that it does not matter which threads a subgroup has.
 */
export function reductions(threads: number, subgroupWidth: number): string {
  const make = subgroupWidth > 0 ? bySubgroups(threads, Math.min(subgroupWidth, threads)) : byMemory(threads);
  return `
var<workgroup> float_lanes: array<f32, ${threads}>;
var<workgroup> bit_lanes: array<u32, ${threads}>;
${subgroupWidth > 0 ? 'var<private> own_lane: u32;' : ''}
${make('reduce_sum', 'f32', 'float_lanes', (a, b) => `(${a} + ${b})`)}
${make('reduce_max', 'f32', 'float_lanes', (a, b) => `max(${a}, ${b})`)}
${make('reduce_bits', 'u32', 'bit_lanes', (a, b) => `max(${a}, ${b})`)}`;
}

type Make = (name: string, type: string, lanes: string, join: (a: string, b: string) => string) => string;

const byMemory =
  (threads: number): Make =>
  (name, type, lanes, join) =>
    `
fn ${name}(lane: u32, value: ${type}) -> ${type} {
  ${lanes}[lane] = value;
  workgroupBarrier();
  for (var width = ${threads / 2}u; width > 0u; width /= 2u) {
    if (lane < width) { ${lanes}[lane] = ${join(`${lanes}[lane]`, `${lanes}[lane + width]`)}; }
    workgroupBarrier();
  }
  let result = ${lanes}[0];
  workgroupBarrier();
  return result;
}`;

const bySubgroups =
  (threads: number, width: number): Make =>
  (name, type, lanes, join) => {
    /** Value `at` after the steps down to `left` values. */
    const joined = (left: number, at: number): string =>
      left === threads ? `${lanes}[at + ${at}u]` : join(joined(2 * left, at), joined(2 * left, at + left));
    const steps: string[] = [];
    for (let mask = width / 2; mask >= 1; mask /= 2)
      steps.push(`result = ${join('result', `subgroupShuffleXor(result, ${mask}u)`)};`);
    return `
fn ${name}(lane: u32, value: ${type}) -> ${type} {
  ${lanes}[lane] = value;
  workgroupBarrier();
  let at = own_lane % ${width}u;
  var result = ${joined(width, 0)};
  ${steps.join('\n  ')}
  workgroupBarrier();
  return result;
}`;
  };
