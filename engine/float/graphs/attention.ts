import type { Architecture, Block } from '../../model/architecture.ts';
import { type Dimension, float, type GraphBuilder, int } from '../onnx/graph-builder.ts';
import { addNorm } from './parts.ts';

/**
 * Attention as plain matrix products on tiles of queries: a tile multiplies only the keys it may see, which skips the upper triangle.
 * Measured as fast as onnxruntime's GroupQueryAttention, and it knows every head dimension and sliding windows.
 */
export const queriesPerTile = 128;

/**
 * Added to the score of a key that may not be seen. Finite, so that no (−inf) − (−inf) can arise; exp of it is 0 beside any score that
 * float32 arithmetic leaves meaningful.
 */
export const maskedScore = -1e30;

/**
 * Queries and keys get their head norms and the rotary embedding. `value` is `[rows, heads · headDimension]`, the result
 * `[rows, heads, headDimension]`. Inputs `rotary.cosine` and `.sine` are `[1, rows, rotaryDimensions / 2]`.
 */
function addHeadTransform(
  graph: GraphBuilder,
  architecture: Architecture,
  norm: Block['queryNorm'],
  normInput: string,
  heads: number,
  rows: Dimension,
  value: string,
): string {
  const { headDimension, position } = architecture;
  let result = graph.reshape(value, -1, heads, headDimension);
  if (norm) result = addNorm(graph, norm, normInput, headDimension, result);
  if (position.kind !== 'rope') return result;
  const half = position.rotaryDimensions / 2;
  // [rows, 1, half] broadcasts over heads.
  const cosine = graph.input('rotary.cosine', 'float32', [rows, 1, half]);
  const sine = graph.input('rotary.sine', 'float32', [rows, 1, half]);
  const rotated = position.rotaryDimensions;
  const first = graph.slice(result, 2, 0, half);
  const second = graph.slice(result, 2, half, rotated);
  const parts = [
    graph.node('Sub', [graph.node('Mul', [first, cosine]), graph.node('Mul', [second, sine])]),
    graph.node('Add', [graph.node('Mul', [second, cosine]), graph.node('Mul', [first, sine])]),
  ];
  if (rotated < headDimension) parts.push(graph.slice(result, 2, rotated, headDimension));
  return graph.concat(parts, 2);
}

/** Query, key and value projections of `[rows, …]` to `[rows, heads, headDimension]`, normed and rotated. */
export function addHeads(
  graph: GraphBuilder,
  architecture: Architecture,
  block: Block,
  rows: Dimension,
  projections: { query: string; key: string; value: string },
): { query: string; key: string; value: string } {
  const { headCount, keyValueHeadCount, headDimension } = architecture;
  return {
    query: addHeadTransform(
      graph,
      architecture,
      block.queryNorm,
      'queryNorm',
      headCount,
      rows,
      projections.query,
    ),
    key: addHeadTransform(
      graph,
      architecture,
      block.keyNorm,
      'keyNorm',
      keyValueHeadCount,
      rows,
      projections.key,
    ),
    value: graph.reshape(projections.value, -1, keyValueHeadCount, headDimension),
  };
}

/**
 * softmax(q kᵀ / sqrt(headDimension) + mask) v of one tile. The query heads that share a key head are stacked into one
 * matrix, so that a key head is read once.
 *
 * @param query `[queries, heads, headDimension]`
 * @param key `[keyValueHeads, keys, headDimension]`, and `value` the same
 * @param mask broadcastable to `[keyValueHeads, group, queries, keys]`, or null
 * @returns `[queries, heads · headDimension]`
 */
function addTile(
  graph: GraphBuilder,
  architecture: Architecture,
  query: string,
  key: string,
  value: string,
  mask: string | null,
): string {
  const { headCount, keyValueHeadCount, headDimension } = architecture;
  const group = headCount / keyValueHeadCount;
  const perKeyHead = graph.reshape(query, -1, keyValueHeadCount, group, headDimension);
  const stacked = graph.reshape(
    graph.transpose(perKeyHead, 1, 2, 0, 3),
    keyValueHeadCount,
    -1,
    headDimension,
  );
  let scores = graph.node('FusedMatMul', [stacked, key], {
    domain: 'com.microsoft',
    attributes: { transB: int(1), alpha: float(1 / Math.sqrt(headDimension)) },
  });
  if (mask) {
    // [keyValueHeads, group · queries, keys] → [keyValueHeads, group, queries, keys] and back; the mask's own extents serve as the last two.
    const maskShape = graph.node('Shape', [mask]);
    const split = graph.concat([graph.constantInts(keyValueHeadCount, group), maskShape], 0);
    const masked = graph.node('Add', [graph.node('Reshape', [scores, split]), mask]);
    const keys = graph.slice(maskShape, 0, 1, 2);
    const joined = graph.concat([graph.constantInts(keyValueHeadCount, -1), keys], 0);
    scores = graph.node('Reshape', [masked, joined]);
  }
  const weights = graph.node('Softmax', [scores], { attributes: { axis: int(-1) } });
  const mixed = graph.node('MatMul', [weights, value]);
  const separate = graph.reshape(mixed, keyValueHeadCount, group, -1, headDimension);
  return graph.reshape(graph.transpose(separate, 2, 0, 1, 3), -1, headCount * headDimension);
}

/**
 * Causal attention of a whole window; heads as `addHeads` gives them, result `[context, heads · headDimension]`. A position sees itself and the
 * `slidingWindow − 1` before it, or all before it where there is none.
 */
export function addWindowAttention(
  graph: GraphBuilder,
  architecture: Architecture,
  context: number,
  heads: { query: string; key: string; value: string },
): string {
  const key = graph.transpose(heads.key, 1, 0, 2);
  const value = graph.transpose(heads.value, 1, 0, 2);
  const reach = architecture.slidingWindow ?? context;
  const tiles: string[] = [];
  for (let begin = 0; begin < context; begin += queriesPerTile) {
    const end = Math.min(begin + queriesPerTile, context);
    const firstKey = Math.max(0, begin - reach + 1);
    const mask = causalMask(begin, end, firstKey, reach);
    tiles.push(
      addTile(
        graph,
        architecture,
        graph.slice(heads.query, 0, begin, end),
        graph.slice(key, 1, firstKey, end),
        graph.slice(value, 1, firstKey, end),
        graph.constant('float32', [end - begin, end - firstKey], mask),
      ),
    );
  }
  return graph.concat(tiles, 0);
}

/**
 * Scores to add for queries [begin, end) and keys [firstKey, end): 0 where query − reach < key ≤ query, else `maskedScore`; row-major
 * `[end − begin, end − firstKey]`.
 */
export function causalMask(begin: number, end: number, firstKey: number, reach: number): Float32Array {
  const keys = end - firstKey;
  const mask = new Float32Array((end - begin) * keys).fill(maskedScore);
  for (let query = begin; query < end; query++) {
    const row = (query - begin) * keys;
    mask.fill(0, row + Math.max(0, query - reach + 1 - firstKey), row + query - firstKey + 1);
  }
  return mask;
}

/**
 * Attention of new positions over cached ones and themselves. Inputs `cache.key` and `cache.value` `[past, keyValueHeads, headDimension]`,
 * `attention.mask` `[rows, past + rows]`; the new keys and values are outputs `new.key` and `new.value` `[rows, keyValueHeads, headDimension]`.
 */
export function addCachedAttention(
  graph: GraphBuilder,
  architecture: Architecture,
  heads: { query: string; key: string; value: string },
): string {
  const { keyValueHeadCount, headDimension } = architecture;
  const shape = (positions: string) => [positions, keyValueHeadCount, headDimension];
  graph.output(heads.key, 'new.key', 'float32', shape('rows'));
  graph.output(heads.value, 'new.value', 'float32', shape('rows'));
  const join = (name: string, fresh: string): string => {
    const all = graph.concat([graph.input(name, 'float32', shape('past')), fresh], 0);
    return graph.transpose(all, 1, 0, 2);
  };
  return addTile(
    graph,
    architecture,
    heads.query,
    join('cache.key', heads.key),
    join('cache.value', heads.value),
    graph.input('attention.mask', 'float32', ['rows', 'total']),
  );
}
