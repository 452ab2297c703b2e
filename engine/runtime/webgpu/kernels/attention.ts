import { gpuLimits } from '../limits.ts';
import { type Kernel, kernel, reductions, unrolled, valueOfRow } from './kernel.ts';

const size = gpuLimits.workgroupSize;

/** Rotary embedding of the query heads in place; `angles` holds cosine and sine `[tokens, half]` of the chunk's positions. */
export function rotateKernel(): Kernel {
  return kernel({
    key: 'rotate',
    parameters: ['heads: u32', 'head_size: u32', 'half: u32', 'stride: u32'],
    buffers: [
      ['angles', 'read', 'vec2f'],
      ['heads', 'write', 'f32'],
    ],
    workgroup: [size],
    body: `${valueOfRow(size, 'p.heads * p.half')}
  let token = workgroup.y;
  let i = index % p.half;
  let at = token * p.stride + (index / p.half) * p.head_size + i;
  let angle = angles[token * p.half + i];
  let a = heads[at];
  let b = heads[at + p.half];
  heads[at] = a * angle.x - b * angle.y;
  heads[at + p.half] = b * angle.x + a * angle.y;`,
  });
}

/** Keys, rotated, and values of the chunk to the cache, `[positions, width]`. */
export function storeKernel(): Kernel {
  return kernel({
    key: 'store',
    parameters: ['width: u32', 'head_size: u32', 'half: u32', 'stride: u32'],
    buffers: [
      ['angles', 'read', 'vec2f'],
      ['key', 'read', 'f32'],
      ['value', 'read', 'f32'],
      ['keys', 'write', 'f32'],
      ['values', 'write', 'f32'],
    ],
    workgroup: [size],
    body: `${valueOfRow(size, 'p.width')}
  let token = workgroup.y;
  let at = token * p.stride + index;
  let dimension = index % p.head_size;
  var rotated = key[at];
  if (dimension < p.half) {
    let angle = angles[token * p.half + dimension];
    rotated = rotated * angle.x - key[at + p.half] * angle.y;
  } else if (dimension < 2u * p.half) {
    let angle = angles[token * p.half + dimension - p.half];
    rotated = rotated * angle.x + key[at - p.half] * angle.y;
  }
  let target_at = (chunk.position + token) * p.width + index;
  keys[target_at] = rotated;
  values[target_at] = value[at];`,
  });
}

/**
 * softmax(q kᵀ / sqrt(head size)) v of one head and token, causal, over at most `p.window` keys where that is not 0. Keys are taken in tiles of fixed position, with a
 * running maximum (online softmax, arXiv 1805.02867), so that a token's result does not depend on how the tokens before it came.
 */
export function attentionKernel(headSize: number): Kernel {
  const perThread = Math.ceil(headSize / size);
  const each = (text: (k: number) => string) => unrolled(perThread, text);
  return kernel({
    key: `attention ${headSize}`,
    parameters: ['heads_per_key: u32', 'window: u32', 'stride: u32', 'width: u32', 'scale: f32'],
    buffers: [
      ['query', 'read', 'f32'],
      ['keys', 'read', 'f32'],
      ['values', 'read', 'f32'],
      ['out', 'write', 'f32'],
    ],
    workgroup: [size],
    declarations: `${reductions(size)}
var<workgroup> scaled_query: array<f32, ${headSize}>;
var<workgroup> shares: array<f32, ${size}>;`,
    body: `
  let head = workgroup.x;
  let token = workgroup.y;
  let lane = local.x;
  let position = chunk.position + token;
  let key_at = (head / p.heads_per_key) * ${headSize}u;
  let query_at = token * p.stride + head * ${headSize}u;
  for (var i = lane; i < ${headSize}u; i += ${size}u) { scaled_query[i] = query[query_at + i] * p.scale; }
  workgroupBarrier();
  var lowest = 0u;
  if (p.window > 0u && position + 1u > p.window) { lowest = position + 1u - p.window; }
  var maximum = -3.4e38;
  var total = 0.0;
  ${each((k) => `var mixed${k} = 0.0;`)}
  for (var tile = lowest / ${size}u * ${size}u; tile <= position; tile += ${size}u) {
    let key = tile + lane;
    let is_seen = key >= lowest && key <= position;
    var score = -3.4e38;
    if (is_seen) {
      score = 0.0;
      for (var i = 0u; i < ${headSize}u; i += 1u) { score += scaled_query[i] * keys[key * p.width + key_at + i]; }
    }
    let next_maximum = max(maximum, reduce_max(lane, score));
    var share = 0.0;
    if (is_seen) { share = exp(score - next_maximum); }
    shares[lane] = share;
    let factor = exp(maximum - next_maximum);
    total = total * factor + reduce_sum(lane, share);
    maximum = next_maximum;
    let count = min(${size}u, position + 1u - tile);
    ${each(
      (k) => `if (lane + ${k * size}u < ${headSize}u) {
      var sum = mixed${k} * factor;
      for (var j = 0u; j < count; j += 1u) { sum += shares[j] * values[(tile + j) * p.width + key_at + lane + ${k * size}u]; }
      mixed${k} = sum;
    }`,
    )}
    workgroupBarrier();
  }
  ${each((k) => `if (lane + ${k * size}u < ${headSize}u) { out[query_at + lane + ${k * size}u] = mixed${k} / total; }`)}`,
  });
}
