import type { KeyValueCache } from '../../../contract/common.ts';
import { gpuLimits } from '../limits.ts';
import { division, exponential, fusedMultiply, rounding } from './arithmetic.ts';
import { cacheElement, cacheReads, toHalf } from './cache.ts';
import { type Kernel, kernel, statusWords, unrolled, valueOfRow } from './kernel.ts';

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
    declarations: rounding,
    body: `${valueOfRow(size, 'p.heads * p.half')}
  let token = workgroup.y;
  let i = index % p.half;
  let at = token * p.stride + (index / p.half) * p.head_size + i;
  let angle = angles[token * p.half + i];
  let a = heads[at];
  let b = heads[at + p.half];
  heads[at] = rounded(a * angle.x) - rounded(b * angle.y);
  heads[at + p.half] = rounded(b * angle.x) + rounded(a * angle.y);`,
  });
}

/** `rotated_key(token, index)`: value `index` of a token's keys after the rotary embedding. Needs `rounding`. */
const rotatedKey = `
fn rotated_key(token: u32, index: u32) -> f32 {
  let at = token * p.stride + index;
  let dimension = index % p.head_size;
  if (dimension < p.half) {
    let angle = angles[token * p.half + dimension];
    return rounded(key[at] * angle.x) - rounded(key[at + p.half] * angle.y);
  }
  if (dimension < 2u * p.half) {
    let angle = angles[token * p.half + dimension - p.half];
    return rounded(key[at] * angle.x) + rounded(key[at - p.half] * angle.y);
  }
  return key[at];
}`;

/** Keys, rotated, and values of the chunk to the cache, `[positions, words]`: a thread a word. Word `statusWords.beyondHalf` of `status` becomes 1 where float16 is too small for one. */
export function storeKernel(cache: KeyValueCache): Kernel {
  const isHalf = cache === 'f16';
  const element = cacheElement(cache);
  return kernel({
    key: `store ${cache}`,
    parameters: ['width: u32', 'words: u32', 'head_size: u32', 'half: u32', 'stride: u32'],
    buffers: [
      ['angles', 'read', 'vec2f'],
      ['key', 'read', 'f32'],
      ['value', 'read', 'f32'],
      ['keys', 'write', element],
      ['values', 'write', element],
      ...(isHalf ? ([['status', 'write', 'u32']] as const) : []),
    ],
    workgroup: [size],
    declarations: `${rounding}${rotatedKey}${isHalf ? toHalf : ''}`,
    body: `${valueOfRow(size, 'p.words')}
  let token = workgroup.y;
  let target_at = (chunk.position + token) * p.words + index;
${
  isHalf
    ? `  var both_keys = 0u;
  var both_values = 0u;
  for (var side = 0u; side < 2u; side += 1u) {
    let one = 2u * index + side;
    if (one < p.width) {
      let rotated = rotated_key(token, one);
      let own_value = value[token * p.stride + one];
      both_keys |= to_half(rotated) << (16u * side);
      both_values |= to_half(own_value) << (16u * side);
      if (beyond_half(rotated) || beyond_half(own_value)) { status[${statusWords.beyondHalf}] = 1u; }
    }
  }
  keys[target_at] = both_keys;
  values[target_at] = both_values;`
    : `  keys[target_at] = rotated_key(token, index);
  values[target_at] = value[token * p.stride + index];`
}`,
  });
}

/** Keys that are taken together, at multiples of it: a segment of the CPU's cache. Two for each thread. */
const keysPerTile = 2 * size;

/**
 * softmax(q kᵀ / sqrt(head size)) v of one head and token, causal, over at most `p.window` keys where that is not 0. Keys are taken in tiles of fixed position, with a
 * running maximum (online softmax, arXiv 1805.02867), in the CPU's order (engine/native/src/runtime/attention.cpp): a token's result does not depend on how the tokens before
 * it came, and has the CPU's bits.
 */
export function attentionKernel(headSize: number, hasFusedMultiply: boolean, cache: KeyValueCache): Kernel {
  const perThread = Math.ceil(headSize / size);
  const each = (text: (k: number) => string) => unrolled(perThread, text);
  return kernel({
    key: `attention ${headSize} ${cache}${hasFusedMultiply ? '' : ' unfused'}`,
    parameters: ['heads_per_key: u32', 'window: u32', 'stride: u32', 'width: u32', 'scale: f32'],
    buffers: [
      ['query', 'read', 'f32'],
      ['keys', 'read', cacheElement(cache)],
      ['values', 'read', cacheElement(cache)],
      ['out', 'write', 'f32'],
    ],
    workgroup: [size],
    reduces: true,
    declarations: `${rounding}${division}${exponential}${fusedMultiply(hasFusedMultiply)}
const unseen = -3.4e38;
var<workgroup> scaled_query: array<f32, ${headSize}>;
var<workgroup> shares: array<f32, ${keysPerTile}>;
${cacheReads(cache)}
fn score_of(key_at: u32) -> f32 {
  var score = 0.0;
  for (var i = 0u; i < ${headSize}u; i += 1u) { score = fused(scaled_query[i], cached_key(key_at + i), score); }
  return score;
}`,
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
  var maximum = unseen;
  var total = 0.0;
  ${each((k) => `var mixed${k} = 0.0;`)}
  for (var tile = lowest / ${keysPerTile}u * ${keysPerTile}u; tile <= position; tile += ${keysPerTile}u) {
    let first = tile + lane;
    let second = first + ${size}u;
    let sees_first = first >= lowest && first <= position;
    let sees_second = second >= lowest && second <= position;
    var first_score = unseen;
    var second_score = unseen;
    if (sees_first) { first_score = score_of(first * p.width + key_at); }
    if (sees_second) { second_score = score_of(second * p.width + key_at); }
    let next_maximum = max(maximum, reduce_max(lane, max(first_score, second_score)));
    let first_share = select(0.0, exponential(first_score - next_maximum), sees_first);
    let second_share = select(0.0, exponential(second_score - next_maximum), sees_second);
    shares[lane] = first_share;
    shares[lane + ${size}u] = second_share;
    let factor = exponential(maximum - next_maximum);
    total = rounded(total * factor) + reduce_sum(lane, first_share + second_share);
    maximum = next_maximum;
    let count = min(${keysPerTile}u, position + 1u - tile);
    ${each(
      (k) => `if (lane + ${k * size}u < ${headSize}u) {
      var sum = rounded(mixed${k} * factor);
      for (var j = 0u; j < count; j += 1u) { sum = fused(shares[j], cached_value((tile + j) * p.width + key_at + lane + ${k * size}u), sum); }
      mixed${k} = sum;
    }`,
    )}
    workgroupBarrier();
  }
  let share = quotient(1.0, total);
  ${each((k) => `if (lane + ${k * size}u < ${headSize}u) { out[query_at + lane + ${k * size}u] = mixed${k} * share; }`)}`,
  });
}
