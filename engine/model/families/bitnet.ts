import type { Family } from './family.ts';
import { describeRotaryDecoder } from './rotary-decoder.ts';

/** BitNet b1.58: LLaMA's block with squared ReLU and an RMS norm in front of o and of down. Its ternary weights are read as bitnet.ts of the model layer says. */
export const bitnet: Family = {
  name: 'bitnet',
  modelTypes: ['bitnet'],
  // llama.cpp's `bitnet` computes with SiLU: another model.
  ggufArchitectures: [],
  tieWordEmbeddingsDefault: false,
  headWeight: 'lm_head.weight',
  fields: { intermediateSize: 'intermediate_size', contextLength: 'max_position_embeddings' },
  optionalPrefix: 'model.',
  describe(reader) {
    const attention = reader.boolean('attention_bias', false);
    return describeRotaryDecoder(reader, {
      family: 'bitnet',
      biases: { queryKeyValue: attention, attentionOutput: attention, mlp: false },
      queryKeyNorms: false,
      subNorms: true,
      defaultActivation: 'relu2',
      mayLackTheta: false,
    });
  },
};
