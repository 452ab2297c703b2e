import type { Architecture, Block } from '../../model/architecture.ts';
import { type Dimension, float, type GraphBuilder, int } from '../onnx/graph-builder.ts';
import { addNorm } from './parts.ts';

/**
 * Attention as plain matrix products on tiles of queries: a tile multiplies only the keys it may see, which skips the upper triangle.
 * Measured as fast as onnxruntime's GroupQueryAttention, and it knows every head dimension and sliding windows. At 256 queries the scores of a tile
 * (heads · queries · keys) no longer stay near the core; at 64 nothing is gained any more.
 */
export const queriesPerTile = 128;

/**
 * Added to the score of a key that may not be seen. Finite, so that no (−inf) − (−inf) can arise; exp of it is 0 beside any score that
 * float32 arithmetic leaves meaningful.
 */
export const maskedScore = -1e30;

/**
 * Queries and keys get their head norms and the rotary embedding. `value` is `[rows, heads · headDimension]`, the result
 * `[rows, heads, headDimension]`. Inputs `rotary.cosine` and `.sine` are `[rows, 1, rotaryDimensions / 2]`;
 * dimension i of the rotated part turns together with dimension i + rotaryDimensions / 2.
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
 * @param mask `[queries, keys]`, added to the scores of every head
 * @returns `[queries, heads · headDimension]`
 */
function addTile(
  graph: GraphBuilder,
  architecture: Architecture,
  query: string,
  key: string,
  value: string,
  mask: string,
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
  const scores = addScores(graph, headDimension, stacked, key);
  // [keyValueHeads, group · queries, keys] → [keyValueHeads, group, queries, keys] and back; the mask's own extents serve as the last two.
  const maskShape = graph.node('Shape', [mask]);
  const split = graph.concat([graph.constantInts(keyValueHeadCount, group), maskShape], 0);
  const masked = graph.node('Add', [graph.node('Reshape', [scores, split]), mask]);
  const keys = graph.slice(maskShape, 0, 1, 2);
  const joined = graph.concat([graph.constantInts(keyValueHeadCount, -1), keys], 0);
  const weights = graph.node('Softmax', [graph.node('Reshape', [masked, joined])], {
    attributes: { axis: int(-1) },
  });
  const mixed = graph.node('MatMul', [weights, value]);
  const separate = graph.reshape(mixed, keyValueHeadCount, group, -1, headDimension);
  return graph.reshape(graph.transpose(separate, 2, 0, 1, 3), -1, headCount * headDimension);
}

/** Extents of the mask that the tiles of a window share: the rows of a tile, the most keys that a tile sees. */
function windowMaskShape(architecture: Architecture, context: number): { rows: number; keys: number } {
  const rows = Math.min(queriesPerTile, context);
  return { rows, keys: Math.min(context, rows + (architecture.slidingWindow ?? context) - 1) };
}

/** The input `attention.mask` of window attention, row-major `[rows, keys]` as its shape says. */
export function windowMask(
  architecture: Architecture,
  context: number,
): { data: Float32Array; shape: [number, number] } {
  const { rows, keys } = windowMaskShape(architecture, context);
  const reach = architecture.slidingWindow ?? context;
  return { data: causalMask(keys - rows, keys, 0, reach), shape: [rows, keys] };
}

/**
 * Causal attention of a whole window; heads as `addHeads` gives them, result `[context, heads · headDimension]`. A position sees itself and the
 * `slidingWindow − 1` before it, or all before it where there is none.
 *
 * What a query may see depends on how far the key lies before it, so all tiles share one mask and take from its lower right corner what they need. It
 * is an input: as constants, the tiles' masks would be unfolded into hundreds of megabytes for long contexts.
 */
export function addWindowAttention(
  graph: GraphBuilder,
  architecture: Architecture,
  context: number,
  heads: { query: string; key: string; value: string },
): string {
  const key = graph.transpose(heads.key, 1, 0, 2);
  const value = graph.transpose(heads.value, 1, 0, 2);
  const maskShape = windowMaskShape(architecture, context);
  const mask = graph.input('attention.mask', 'float32', [maskShape.rows, maskShape.keys]);
  const tiles: string[] = [];
  for (let begin = 0; begin < context; begin += queriesPerTile) {
    const end = Math.min(begin + queriesPerTile, context);
    const firstKey = Math.max(0, end - maskShape.keys);
    const lastRows = graph.slice(mask, 0, maskShape.rows - (end - begin), maskShape.rows);
    tiles.push(
      addTile(
        graph,
        architecture,
        graph.slice(heads.query, 0, begin, end),
        graph.slice(key, 1, firstKey, end),
        graph.slice(value, 1, firstKey, end),
        graph.slice(lastRows, 1, maskShape.keys - (end - firstKey), maskShape.keys),
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
 * Attention of new positions over cached ones and themselves. Inputs `cache.key` and `cache.value`
 * `[keyValueHeads, capacity, headDimension]`, of which `attention.mask` `[rows, capacity + rows]` hides what is not filled; the new keys and values are
 * outputs `new.key` and `new.value` `[rows, keyValueHeads, headDimension]`.
 *
 * @param rows `one` reads the cache in place; `many` joins cache and new keys first, which costs a copy that more rows amortise
 */
export function addCachedAttention(
  graph: GraphBuilder,
  architecture: Architecture,
  rows: 'one' | 'many',
  heads: { query: string; key: string; value: string },
): string {
  const { keyValueHeadCount, headDimension } = architecture;
  const cacheShape = [keyValueHeadCount, 'capacity', headDimension];
  const newShape = ['rows', keyValueHeadCount, headDimension];
  const cache = {
    key: graph.input('cache.key', 'float32', cacheShape),
    value: graph.input('cache.value', 'float32', cacheShape),
    mask: graph.input('attention.mask', 'float32', ['rows', 'total']),
  };
  graph.output(heads.key, 'new.key', 'float32', newShape);
  graph.output(heads.value, 'new.value', 'float32', newShape);
  const byHead = (value: string): string => graph.transpose(value, 1, 0, 2);
  const fresh = { key: byHead(heads.key), value: byHead(heads.value) };
  if (rows === 'one') return addOnePosition(graph, architecture, heads.query, cache, fresh);
  return addTile(
    graph,
    architecture,
    heads.query,
    graph.concat([cache.key, fresh.key], 1),
    graph.concat([cache.value, fresh.value], 1),
    cache.mask,
  );
}

/** One query over cache and itself: scores and mixed values of the two parts are computed apart and put together. */
function addOnePosition(
  graph: GraphBuilder,
  architecture: Architecture,
  query: string,
  cache: { key: string; value: string; mask: string },
  fresh: { key: string; value: string },
): string {
  const { headCount, keyValueHeadCount, headDimension } = architecture;
  const grouped = graph.reshape(query, keyValueHeadCount, headCount / keyValueHeadCount, headDimension);
  const scores = graph.concat(
    [
      addScores(graph, headDimension, grouped, cache.key),
      addScores(graph, headDimension, grouped, fresh.key),
    ],
    2,
  );
  const masked = graph.node('Add', [scores, cache.mask]);
  const weights = graph.node('Softmax', [masked], { attributes: { axis: int(-1) } });
  const mixed = graph.node('Add', [
    graph.node('MatMul', [graph.slice(weights, 2, 0, -1), cache.value]),
    graph.node('MatMul', [graph.slice(weights, 2, -1, Number.MAX_SAFE_INTEGER), fresh.value]),
  ]);
  return graph.reshape(mixed, 1, headCount * headDimension);
}

/** q kᵀ / sqrt(headDimension). */
function addScores(graph: GraphBuilder, headDimension: number, query: string, key: string): string {
  return graph.node('FusedMatMul', [query, key], {
    domain: 'com.microsoft',
    attributes: { transB: int(1), alpha: float(1 / Math.sqrt(headDimension)) },
  });
}

/**
 * Scores to add for new positions [begin, begin + rows) behind a cache of `capacity` positions of which `begin` are filled; row-major
 * `[rows, capacity + rows]`. What may be seen is as in `causalMask`.
 */
export function cachedMask(begin: number, rows: number, capacity: number, reach: number): Float32Array {
  const width = capacity + rows;
  const mask = new Float32Array(rows * width).fill(maskedScore);
  for (let row = 0; row < rows; row++) {
    const firstKey = Math.max(0, begin + row - reach + 1);
    mask.fill(0, row * width + Math.min(firstKey, begin), row * width + begin);
    mask.fill(0, row * width + capacity + Math.max(0, firstKey - begin), row * width + capacity + row + 1);
  }
  return mask;
}
