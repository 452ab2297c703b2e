import { gpuLimits } from '../limits.ts';
import { division, rounding } from './arithmetic.ts';
import { type Kernel, kernel, type Rows } from './kernel.ts';

const size = gpuLimits.workgroupSize;

/**
 * (x − mean) / sqrt(variance + ε) · weight + bias over `p.size` values, mean 0 for RMS norms: `p.parts` of them lie side by side in a row (heads), else one.
 * Sums are 64 running ones, one for each thread, joined halves to halves, as on the CPU (engine/native/src/runtime/norm.cpp). In place, or from x to `out` of the same stride; rows of the head begin at `chunk.head_first` of x.
 */
export function normKernel({ inPlace, rows }: { inPlace: boolean; rows: Rows }): Kernel {
  const source = inPlace ? 'out[at + index]' : 'x[at + index]';
  return kernel({
    key: `norm ${inPlace ? 'in place' : 'copied'} ${rows}`,
    parameters: [
      'size: u32',
      'stride: u32',
      'is_layer: u32',
      'has_weight: u32',
      'has_bias: u32',
      'bias_at: u32',
      'epsilon: f32',
    ],
    buffers: [
      ...(inPlace ? [] : ([['x', 'read', 'f32']] as const)),
      ['vectors', 'read', 'f32'],
      ['out', 'write', 'f32'],
    ],
    workgroup: [size],
    reduces: true,
    declarations: `${rounding}${division}`,
    body: `
  let row = workgroup.y;
  if (row >= chunk.${rows}) { return; }
  let at = (row${rows === 'head_rows' && !inPlace ? ' + chunk.head_first' : ''}) * p.stride + workgroup.x * p.size;
  let out_at = row * p.stride + workgroup.x * p.size;
  var mean = 0.0;
  if (p.is_layer == 1u) {
    var sum = 0.0;
    for (var index = local.x; index < p.size; index += ${size}u) { sum += ${source}; }
    mean = quotient(reduce_sum(local.x, sum), f32(p.size));
  }
  var squares = 0.0;
  for (var index = local.x; index < p.size; index += ${size}u) {
    let value = ${source} - mean;
    squares += rounded(value * value);
  }
  let factor = quotient(1.0, root(quotient(reduce_sum(local.x, squares), f32(p.size)) + p.epsilon));
  for (var index = local.x; index < p.size; index += ${size}u) {
    var value = rounded((${source} - mean) * factor);
    if (p.has_weight == 1u) { value = rounded(value * vectors[index]); }
    if (p.has_bias == 1u) { value += vectors[p.bias_at + index]; }
    out[out_at + index] = value;
  }`,
  });
}
