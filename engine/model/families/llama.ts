import type { Family } from './family.ts';
import { describeRotaryDecoder } from './rotary-decoder.ts';

/** LLaMA 1, 2, 3 and what shares its code in transformers (SmolLM2, TinyLlama and many more). */
export const llama: Family = {
  name: 'llama',
  modelTypes: ['llama'],
  ggufArchitectures: ['llama'],
  tieWordEmbeddingsDefault: false,
  headWeight: 'lm_head.weight',
  fields: { intermediateSize: 'intermediate_size', contextLength: 'max_position_embeddings' },
  optionalPrefix: 'model.',
  describe(reader) {
    const attention = reader.boolean('attention_bias', false);
    return describeRotaryDecoder(reader, {
      family: 'llama',
      biases: {
        queryKeyValue: attention,
        attentionOutput: attention,
        mlp: reader.boolean('mlp_bias', false),
      },
      queryKeyNorms: false,
      mayLackTheta: true,
    });
  },
};
