import type { Family } from './family.ts';
import { readQwenWindow } from './qwen-window.ts';
import { describeRotaryDecoder } from './rotary-decoder.ts';

/** Qwen 3 (dense): LLaMA's block with RMS norms over each query and key head, and a head dimension of its own. */
export const qwen3: Family = {
  name: 'qwen3',
  modelTypes: ['qwen3'],
  ggufArchitectures: ['qwen3'],
  tieWordEmbeddingsDefault: false,
  headWeight: 'lm_head.weight',
  fields: { intermediateSize: 'intermediate_size', contextLength: 'max_position_embeddings' },
  optionalPrefix: 'model.',
  describe(reader) {
    const attention = reader.boolean('attention_bias', false);
    return describeRotaryDecoder(reader, {
      family: 'qwen3',
      biases: { queryKeyValue: attention, attentionOutput: attention, mlp: false },
      queryKeyNorms: true,
      attentionWindow: readQwenWindow,
      mayLackTheta: false,
      defaultHeadDimension: 128,
    });
  },
};
