import type { Activation } from '../../../model/architecture.ts';
import { gpuLimits } from '../limits.ts';
import { division, exponential, rounding } from './arithmetic.ts';
import { type Kernel, kernel, valueOfRow } from './kernel.ts';

const size = gpuLimits.workgroupSize;

/** Each function of x, in the order of operations of the CPU's, bit for bit except gelu. erf: Abramowitz and Stegun 7.1.26, within 1.5e-7. */
const functions: Record<Activation, string> = {
  relu: 'return select(x, 0.0, x < 0.0);',
  relu_squared: 'return select(x * x, 0.0, x < 0.0);',
  silu: 'return x * sigmoid(x);',
  quick_gelu: 'return x * sigmoid(1.702 * x);',
  gelu_tanh: 'return x * sigmoid(1.59576912 * (x + rounded(0.044715 * x * x * x)));',
  gelu: `
  let z = abs(x) * 0.707106781;
  let t = 1.0 / (1.0 + 0.3275911 * z);
  let series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  let erf = sign(x) * (1.0 - series * exponential(-z * z));
  return 0.5 * x * (1.0 + erf);`,
};

/** up ← act(gate) · up, or act(up) where there is no gate. */
export function activationKernel(activation: Activation, isGated: boolean): Kernel {
  return kernel({
    key: `activation ${activation}${isGated ? ' gated' : ''}`,
    parameters: ['width: u32', 'stride: u32'],
    buffers: [...(isGated ? ([['gate', 'read', 'f32']] as const) : []), ['up', 'write', 'f32']],
    workgroup: [size],
    declarations: `${rounding}${division}${exponential}
fn sigmoid(x: f32) -> f32 { return quotient(1.0, 1.0 + exponential(-x)); }
fn activate(x: f32) -> f32 { ${functions[activation]} }`,
    body: `${valueOfRow(size, 'p.width')}
  let at = workgroup.y * p.stride + index;
  up[at] = ${isGated ? 'up[at] * activate(gate[at])' : 'activate(up[at])'};`,
  });
}

/** sum ← sum + addend, rows of one stride. */
export function addKernel(): Kernel {
  return kernel({
    key: 'add',
    parameters: ['width: u32', 'stride: u32'],
    buffers: [
      ['addend', 'read', 'f32'],
      ['sum', 'write', 'f32'],
    ],
    workgroup: [size],
    body: `${valueOfRow(size, 'p.width')}
  let at = workgroup.y * p.stride + index;
  sum[at] += addend[at];`,
  });
}

/** Rows of the hidden state that enter the head, from `chunk.head_first` on, side by side. */
export function copyRowsKernel(): Kernel {
  return kernel({
    key: 'copy rows',
    parameters: ['width: u32', 'stride: u32'],
    buffers: [
      ['rows', 'read', 'f32'],
      ['copied', 'write', 'f32'],
    ],
    workgroup: [size],
    body: `${valueOfRow(size, 'p.width')}
  copied[workgroup.y * p.stride + index] = rows[(chunk.head_first + workgroup.y) * p.stride + index];`,
  });
}

/** Natural-log loss of `targets[head_first + row]` given row `row` of the logits, to `losses[head_first + row]`. */
export function lossKernel(): Kernel {
  return kernel({
    key: 'loss',
    parameters: ['vocabulary: u32', 'stride: u32'],
    buffers: [
      ['logits', 'read', 'f32'],
      ['targets', 'read', 'u32'],
      ['losses', 'write', 'f32'],
    ],
    workgroup: [size],
    reduces: true,
    declarations: `${rounding}${exponential}`,
    body: `
  let row = workgroup.x;
  if (row >= chunk.head_rows) { return; }
  let at = row * p.stride;
  var maximum = -3.4e38;
  for (var index = local.x; index < p.vocabulary; index += ${size}u) { maximum = max(maximum, logits[at + index]); }
  maximum = reduce_max(local.x, maximum);
  var sum = 0.0;
  for (var index = local.x; index < p.vocabulary; index += ${size}u) { sum += exponential(logits[at + index] - maximum); }
  sum = reduce_sum(local.x, sum);
  if (local.x == 0u) {
    let token = chunk.head_first + row;
    losses[token] = log(sum) + (maximum - logits[at + targets[token]]);
  }`,
  });
}
