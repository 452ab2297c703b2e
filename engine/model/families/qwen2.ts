import type { Family } from './family.ts';
import { readQwenWindow } from './qwen-window.ts';
import { describeRotaryDecoder } from './rotary-decoder.ts';

/** Qwen 2 and 2.5: LLaMA's block with biases on q, k and v. */
export const qwen2: Family = {
  name: 'qwen2',
  modelTypes: ['qwen2'],
  ggufArchitectures: ['qwen2'],
  tieWordEmbeddingsDefault: false,
  headWeight: 'lm_head.weight',
  fields: { intermediateSize: 'intermediate_size', contextLength: 'max_position_embeddings' },
  optionalPrefix: 'model.',
  describe(reader) {
    return describeRotaryDecoder(reader, {
      family: 'qwen2',
      biases: { queryKeyValue: true, attentionOutput: false, mlp: false },
      queryKeyNorms: false,
      attentionWindow: readQwenWindow,
      mayLackTheta: false,
    });
  },
};
