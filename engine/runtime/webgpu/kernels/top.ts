import { gpuLimits } from '../limits.ts';
import { exponential, rounding } from './arithmetic.ts';
import { type Kernel, kernel } from './kernel.ts';

// The highest logits of a token: first those of every slice of the vocabulary, then of all slices. A logit is compared by its `order`, a whole number that rises with it, so
// that neither −0 nor numbers below the normal ones depend on the device.

const size = gpuLimits.workgroupSize;

/** Logits of a slice that a workgroup searches, at least. */
const leastSlice = 1024;
/** Slices at most: the second kernel keeps its place in each in workgroup memory. */
const mostSlices = 256;

/** How a vocabulary is cut: `slices` of `slice` logits, of which the last may have fewer. */
export function topSlices(vocabulary: number): { slice: number; slices: number } {
  const slice = Math.max(leastSlice, size * Math.ceil(vocabulary / (size * mostSlices)));
  return { slice, slices: Math.ceil(vocabulary / slice) };
}

/** Words of the buffer `request`; the last two are float32. `factor` is 2 / temperature, `least` the lowest half difference that has a weight in float32. */
export const requestWords = ['count', 'factor', 'least'] as const;

/**
 * `first_of(lane, pair)`: of the workgroup's pairs (order, id) the one with the highest order, of equals the lowest id; every thread gets it. `none` comes behind every
 * pair of a logit.
 */
const pairs = `
const none = vec2u(0u, 0xffffffffu);
fn order_of(bits: u32) -> u32 {
  if ((bits & 0x7fffffffu) == 0u) { return 0x80000000u; }
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}
fn bits_of(order: u32) -> u32 { return select(~order, order & 0x7fffffffu, order >= 0x80000000u); }
fn is_before(a: vec2u, b: vec2u) -> bool { return a.x > b.x || (a.x == b.x && a.y < b.y); }
var<workgroup> pair_lanes: array<vec2u, ${size}>;
fn first_of(lane: u32, pair: vec2u) -> vec2u {
  pair_lanes[lane] = pair;
  workgroupBarrier();
  for (var width = ${size / 2}u; width > 0u; width /= 2u) {
    if (lane < width && is_before(pair_lanes[lane + width], pair_lanes[lane])) { pair_lanes[lane] = pair_lanes[lane + width]; }
    workgroupBarrier();
  }
  let first = pair_lanes[0];
  workgroupBarrier();
  return first;
}`;

const parameters = [
  'vocabulary: u32',
  'slice: u32',
  'slices: u32',
  /** Pairs that `candidates` has room for in each slice. */
  'room: u32',
] as const;

/**
 * A workgroup a slice: its first pairs in order to `candidates` `[slices, room]`, its highest logit and Σ exp((logit − highest) / temperature) to words 2s and 2s + 1 of
 * `result`; the sum is −1 where a logit of the slice is not finite. Half differences, as whole ones may be too large for float32.
 */
export function topOfSlicesKernel(): Kernel {
  return kernel({
    key: 'top of slices',
    parameters,
    buffers: [
      ['logits', 'read', 'u32'],
      ['request', 'read', 'u32'],
      ['candidates', 'write', 'vec2u'],
      ['result', 'write', 'u32'],
    ],
    workgroup: [size],
    reduces: true,
    declarations: `${rounding}${exponential}${pairs}
fn pair_at(id: u32) -> vec2u { return vec2u(order_of(logits[id]), id); }`,
    body: `
  let first = workgroup.x * p.slice;
  let end = min(first + p.slice, p.vocabulary);
  var broken = 0u;
  var best = none;
  for (var id = first + local.x; id < end; id += ${size}u) {
    if ((logits[id] & 0x7f800000u) == 0x7f800000u) { broken = 1u; }
    let pair = pair_at(id);
    if (is_before(pair, best)) { best = pair; }
  }
  broken = reduce_bits(local.x, broken);
  var highest = 0u;
  for (var rank = 0u; rank < min(request[0], end - first); rank += 1u) {
    let found = first_of(local.x, best);
    if (rank == 0u) { highest = bits_of(found.x); }
    if (local.x == 0u) { candidates[workgroup.x * p.room + rank] = found; }
    if (found.y == best.y) {
      best = none;
      for (var id = first + local.x; id < end; id += ${size}u) {
        let pair = pair_at(id);
        if (is_before(found, pair) && is_before(pair, best)) { best = pair; }
      }
    }
  }
  var sum = 0.0;
  for (var id = first + local.x; id < end; id += ${size}u) {
    let half_difference = 0.5 * bitcast<f32>(logits[id]) - 0.5 * bitcast<f32>(highest);
    sum += exponential(max(half_difference, bitcast<f32>(request[2])) * bitcast<f32>(request[1]));
  }
  sum = reduce_sum(local.x, sum);
  if (local.x == 0u) {
    result[2u * workgroup.x] = highest;
    result[2u * workgroup.x + 1u] = bitcast<u32>(select(sum, -1.0, broken == 1u));
  }`,
  });
}

/** One workgroup: logit and id of the first pairs of all slices, in order, to `result` from word 2 · slices on. */
export function topOfAllKernel(): Kernel {
  return kernel({
    key: 'top of all',
    parameters,
    buffers: [
      ['request', 'read', 'u32'],
      ['candidates', 'read', 'vec2u'],
      ['result', 'write', 'u32'],
    ],
    workgroup: [size],
    declarations: `${pairs}
var<workgroup> taken: array<u32, ${mostSlices}>;
fn best_of(lane: u32) -> vec2u {
  var best = none;
  for (var slice = lane; slice < p.slices; slice += ${size}u) {
    let there = min(request[0], min(p.slice, p.vocabulary - slice * p.slice));
    if (taken[slice] < there) {
      let pair = candidates[slice * p.room + taken[slice]];
      if (is_before(pair, best)) { best = pair; }
    }
  }
  return best;
}`,
    body: `
  for (var slice = local.x; slice < p.slices; slice += ${size}u) { taken[slice] = 0u; }
  var best = best_of(local.x);
  for (var rank = 0u; rank < min(request[0], p.vocabulary); rank += 1u) {
    let found = first_of(local.x, best);
    if (local.x == 0u) {
      result[2u * (p.slices + rank)] = bits_of(found.x);
      result[2u * (p.slices + rank) + 1u] = found.y;
    }
    if (found.y == best.y) {
      taken[found.y / p.slice] += 1u;
      best = best_of(local.x);
    }
  }`,
  });
}
