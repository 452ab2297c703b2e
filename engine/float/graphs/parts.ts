import type { Activation, Linear, Norm } from '../../model/architecture.ts';
import { float, type GraphBuilder, int, text } from '../onnx/graph-builder.ts';
import { type ActivationBits, type ActivationScales, columnsPerBlock } from '../types.ts';

/**
 * Norm over the last axis of `value`; weight and bias are graph inputs `${input}.weight` and `.bias`, `[size]`. A norm without affine part gets
 * ones, since both operators demand a scale.
 */
export function addNorm(graph: GraphBuilder, norm: Norm, input: string, size: number, value: string): string {
  const scale = norm.weight
    ? graph.input(`${input}.weight`, 'float32', [size])
    : graph.constant('float32', [size], new Float32Array(size).fill(1));
  const attributes = { axis: int(-1), epsilon: float(norm.epsilon) };
  if (norm.kind === 'rms') return graph.node('RMSNormalization', [value, scale], { attributes });
  const inputs = norm.bias ? [value, scale, graph.input(`${input}.bias`, 'float32', [size])] : [value, scale];
  return graph.node('LayerNormalization', inputs, { attributes });
}

/** y = x Wᵀ + bias; x `[rows, in]`, W a graph input `${role}.weight` `[out, in]`. */
export function addLinear(graph: GraphBuilder, linear: Linear, value: string): string {
  const inputs = [
    value,
    graph.input(`${linear.role}.weight`, 'float32', [linear.outFeatures, linear.inFeatures]),
  ];
  if (linear.bias) inputs.push(graph.input(`${linear.role}.bias`, 'float32', [linear.outFeatures]));
  return graph.node('Gemm', inputs, { attributes: { transB: int(1) } });
}

/** QuickGelu is x · sigmoid(alpha x): SiLU with alpha 1, OpenAI's `quick_gelu` with 1.702. */
export function addActivation(graph: GraphBuilder, activation: Activation, value: string): string {
  switch (activation) {
    case 'relu':
      return graph.node('Relu', [value]);
    case 'relu_squared': {
      const positive = graph.node('Relu', [value]);
      return graph.node('Mul', [positive, positive]);
    }
    case 'gelu':
      return graph.node('Gelu', [value], { attributes: { approximate: text('none') } });
    case 'gelu_tanh':
      return graph.node('Gelu', [value], { attributes: { approximate: text('tanh') } });
    case 'silu':
      return graph.node('QuickGelu', [value], { domain: 'com.microsoft', attributes: { alpha: float(1) } });
    case 'quick_gelu':
      return graph.node('QuickGelu', [value], {
        domain: 'com.microsoft',
        attributes: { alpha: float(1.702) },
      });
  }
}

/** Largest magnitude of an activation code: 127, 31, 7. */
export function activationCodeMaximum(bits: Exclude<ActivationBits, 16>): number {
  return 2 ** (bits - 1) - 1;
}

/** How activations are rounded. */
export interface ActivationRounding {
  bits: ActivationBits;
  scales: ActivationScales;
}

/**
 * Symmetric absmax quantization of each row of `[rows, size]`, or of each block of its columns, and back (method.md section 3): s = max|x| / codeMaximum,
 * x̂ = round(x / s) · s, half to even, each operation rounded to float32. Where s is 0 (all zeros, or too small for float32) it is 1 and x̂ becomes 0.
 */
export function addFakeQuantization(
  graph: GraphBuilder,
  { bits, scales }: ActivationRounding,
  value: string,
  size: number,
): string {
  if (bits === 16) return value;
  if (scales === 'token' || size <= columnsPerBlock) return addRounding(graph, bits, value);
  const blocks = Math.ceil(size / columnsPerBlock);
  const columns = blocks * columnsPerBlock;
  const padding = columns - size;
  // Zeros behind the last column change no largest magnitude.
  const padded = padding === 0 ? value : graph.node('Pad', [value, graph.constantInts(0, 0, 0, padding)]);
  const rounded = addRounding(graph, bits, graph.reshape(padded, -1, blocks, columnsPerBlock));
  const rows = graph.reshape(rounded, -1, columns);
  return padding === 0 ? rows : graph.slice(rows, 1, 0, size);
}

/** Rounding with one step for all values along the last axis. */
function addRounding(graph: GraphBuilder, bits: Exclude<ActivationBits, 16>, value: string): string {
  const largest = graph.node('ReduceMax', [graph.node('Abs', [value]), graph.constantInts(-1)], {
    attributes: { keepdims: int(1) },
  });
  const step = graph.node('Div', [largest, graph.constantScalar(activationCodeMaximum(bits))]);
  const safeStep = graph.node('Where', [
    graph.node('Greater', [step, graph.constantScalar(0)]),
    step,
    graph.constantScalar(1),
  ]);
  const codes = graph.node('Round', [graph.node('Div', [value, safeStep])]);
  return graph.node('Mul', [codes, safeStep]);
}

/** max |x_j| over the rows of `[rows, size]`: `[size]`. */
export function addColumnAbsMax(graph: GraphBuilder, value: string): string {
  return graph.node('ReduceMax', [graph.node('Abs', [value]), graph.constantInts(0)], {
    attributes: { keepdims: int(0) },
  });
}
