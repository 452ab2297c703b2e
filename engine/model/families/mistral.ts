import type { Family } from './family.ts';
import { describeRotaryDecoder, readAttentionWindow } from './rotary-decoder.ts';

/** Mistral: LLaMA's block without biases, with a sliding window in its first version. */
export const mistral: Family = {
  name: 'mistral',
  modelTypes: ['mistral'],
  // GGUF files of Mistral models say `llama`.
  ggufArchitectures: [],
  tieWordEmbeddingsDefault: false,
  headWeight: 'lm_head.weight',
  fields: { intermediateSize: 'intermediate_size', contextLength: 'max_position_embeddings' },
  optionalPrefix: 'model.',
  describe(reader) {
    return describeRotaryDecoder(reader, {
      family: 'mistral',
      biases: { queryKeyValue: false, attentionOutput: false, mlp: false },
      queryKeyNorms: false,
      attentionWindow: (r, layers, contextLength) => readAttentionWindow(r, layers, contextLength, layers),
      mayLackTheta: true,
    });
  },
};
