import type { ConfigReader } from '../config-reader.ts';
import { MAX_LAYERS } from '../limits.ts';
import { show } from '../problems.ts';
import { readAttentionWindow } from './rotary-decoder.ts';

/** transformers' default of `max_window_layers` in Qwen 2 and 3. */
const DEFAULT_MAX_WINDOW_LAYERS = 28;

/** Qwen's sliding window: off unless `use_sliding_window`; then by `layer_types`, or from layer `max_window_layers` on. */
export function readQwenWindow(
  reader: ConfigReader,
  layers: number,
  contextLength: number,
): { slidingWindow: number | null; contextLength: number } {
  if (!reader.boolean('use_sliding_window', false)) return { slidingWindow: null, contextLength };
  const types = reader.raw('layer_types');
  let withWindow: number;
  if (types === undefined) {
    const first = reader.integer('max_window_layers', {
      min: 0,
      max: MAX_LAYERS,
      fallback: DEFAULT_MAX_WINDOW_LAYERS,
    });
    withWindow = Math.max(0, layers - first);
  } else if (
    Array.isArray(types) &&
    types.length === layers &&
    types.every((type) => type === 'full_attention' || type === 'sliding_attention')
  ) {
    withWindow = types.filter((type) => type === 'sliding_attention').length;
  } else {
    reader.error(
      'unsupported-attention',
      `layer_types is ${show(types)}; it must name full_attention or sliding_attention for each of ${layers} layers`,
    );
    return { slidingWindow: null, contextLength };
  }
  return readAttentionWindow(reader, layers, contextLength, withWindow);
}
