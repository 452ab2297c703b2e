import type { Block, Linear, LinearRole, Norm } from '../architecture.ts';
import {
  MAX_CONTEXT_LENGTH,
  MAX_HEADS,
  MAX_HIDDEN_SIZE,
  MAX_LAYERS,
  MAX_VOCABULARY_SIZE,
} from '../limits.ts';
import { type Family, readActivation } from './family.ts';

/** torch.nn.LayerNorm's default; OPT's config has no field for it. */
const LAYER_NORM_EPSILON = 1e-5;

/** OPT's learned positions begin at row 2 of their table. */
const POSITION_OFFSET = 2;

/**
 * OPT (Zhang et al. 2022, names of transformers' OPTForCausalLM): LayerNorm, learned positions, biases, a plain MLP. OPT-350M puts its norms after
 * the residual additions and has an embedding of another width than its blocks.
 */
export const opt: Family = {
  name: 'opt',
  modelTypes: ['opt'],
  ggufArchitectures: [],
  tieWordEmbeddingsDefault: true,
  headWeight: 'lm_head.weight',
  fields: { intermediateSize: 'ffn_dim', contextLength: 'max_position_embeddings' },
  optionalPrefix: 'model.',
  describe(reader) {
    const layers = reader.integer('num_hidden_layers', { max: MAX_LAYERS });
    const hiddenSize = reader.integer('hidden_size', { max: MAX_HIDDEN_SIZE });
    const intermediateSize = reader.integer('ffn_dim', { max: MAX_HIDDEN_SIZE });
    const headCount = reader.integer('num_attention_heads', { max: MAX_HEADS });
    const vocabularySize = reader.integer('vocab_size', { max: MAX_VOCABULARY_SIZE });
    const contextLength = reader.integer('max_position_embeddings', { max: MAX_CONTEXT_LENGTH });
    const embeddingSize = reader.integer('word_embed_proj_dim', {
      max: MAX_HIDDEN_SIZE,
      fallback: hiddenSize,
    });
    const biases = reader.boolean('enable_bias', true);
    const affine = reader.boolean('layer_norm_elementwise_affine', true);
    const before = reader.boolean('do_layer_norm_before', true);
    const removeFinalNorm = reader.boolean('_remove_final_layer_norm', false);
    const activation = readActivation(reader, 'activation_function', 'relu');
    if (reader.sound('hidden_size', 'num_attention_heads') && hiddenSize % headCount !== 0)
      reader.error(
        'config-contradiction',
        `hidden_size ${hiddenSize} is not a multiple of num_attention_heads ${headCount}`,
      );
    const endOfTextIds = reader.tokenIds('eos_token_id', vocabularySize);
    const beginOfTextIds = reader.tokenIds('bos_token_id', vocabularySize);
    if (reader.failed) return null;

    const norm = (module: string): Norm => ({
      kind: 'layer',
      epsilon: LAYER_NORM_EPSILON,
      weight: affine ? `${module}.weight` : null,
      bias: affine ? `${module}.bias` : null,
    });
    const describeBlock = (index: number): Block => {
      const prefix = `model.decoder.layers.${index}`;
      const linear = (role: LinearRole, module: string, outFeatures: number, inFeatures: number): Linear => ({
        role,
        name: `${prefix}.${module}`,
        inFeatures,
        outFeatures,
        bias: biases ? `${prefix}.${module}.bias` : null,
      });
      const attentionNorm = norm(`${prefix}.self_attn_layer_norm`);
      const mlpNorm = norm(`${prefix}.final_layer_norm`);
      // Behind a residual addition the norm's output is the residual stream itself, so nothing folds into it.
      const foldable = (candidate: Norm) => (before && affine ? candidate : null);
      return {
        index,
        attentionNorm,
        attentionSubNorm: null,
        mlpSubNorm: null,
        queryNorm: null,
        keyNorm: null,
        mlpNorm,
        stages: [
          {
            name: 'attention-in',
            linears: [
              linear('q', 'self_attn.q_proj', hiddenSize, hiddenSize),
              linear('k', 'self_attn.k_proj', hiddenSize, hiddenSize),
              linear('v', 'self_attn.v_proj', hiddenSize, hiddenSize),
            ],
            foldableNorm: foldable(attentionNorm),
          },
          {
            name: 'attention-out',
            linears: [linear('o', 'self_attn.out_proj', hiddenSize, hiddenSize)],
            foldableNorm: null,
          },
          {
            name: 'mlp-in',
            linears: [linear('up', 'fc1', intermediateSize, hiddenSize)],
            foldableNorm: foldable(mlpNorm),
          },
          {
            name: 'mlp-out',
            linears: [linear('down', 'fc2', hiddenSize, intermediateSize)],
            foldableNorm: null,
          },
        ],
      };
    };
    const projected = embeddingSize !== hiddenSize;
    return {
      family: 'opt',
      modelType: String(reader.raw('model_type')),
      hiddenSize,
      intermediateSize,
      headCount,
      keyValueHeadCount: headCount,
      headDimension: hiddenSize / headCount,
      vocabularySize,
      contextLength,
      normPlacement: before ? 'pre' : 'post',
      position: {
        kind: 'learned',
        offset: POSITION_OFFSET,
        table: 'model.decoder.embed_positions.weight',
      },
      activation,
      mlp: 'plain',
      embedding: {
        table: 'model.decoder.embed_tokens.weight',
        embeddingSize,
        projectIn: projected ? 'model.decoder.project_in.weight' : null,
        projectOut: projected ? 'model.decoder.project_out.weight' : null,
      },
      finalNorm: before && !removeFinalNorm ? norm('model.decoder.final_layer_norm') : null,
      head: { weight: 'model.decoder.embed_tokens.weight', tied: true, bias: null },
      slidingWindow: null,
      blocks: Array.from({ length: layers }, (_, index) => describeBlock(index)),
      endOfTextIds,
      beginOfTextId: beginOfTextIds[0] ?? null,
    };
  },
};
