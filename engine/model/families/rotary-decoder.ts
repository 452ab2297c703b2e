import type { Architecture, Block, FamilyName, Linear, LinearRole, Norm } from '../architecture.ts';
import type { ConfigReader } from '../config-reader.ts';
import {
  MAX_CONTEXT_LENGTH,
  MAX_HEAD_DIMENSION,
  MAX_HEADS,
  MAX_HIDDEN_SIZE,
  MAX_LAYERS,
  MAX_VOCABULARY_SIZE,
} from '../limits.ts';
import { readRope } from '../rope.ts';
import { readActivation } from './family.ts';

/** What differs between the families that share LLaMA's block. */
export interface RotaryDecoderOptions {
  family: FamilyName;
  biases: { queryKeyValue: boolean; attentionOutput: boolean; mlp: boolean };
  /** RMS norms over each query and key head. */
  queryKeyNorms: boolean;
  /** RMS norms in front of o and of down. */
  subNorms?: boolean;
  /** Where config.json does not name one. */
  defaultActivation?: string;
  /** Sliding window in tokens and the longest context that is computed exactly. */
  attentionWindow?: (
    reader: ConfigReader,
    layers: number,
    contextLength: number,
  ) => { slidingWindow: number | null; contextLength: number };
  mayLackTheta: boolean;
  /** Head dimension where config.json has no such field; hidden size by heads where this is absent too. */
  defaultHeadDimension?: number;
}

/**
 * LLaMA's decoder: RMS norm, attention with a rotary embedding and grouped key/value heads, RMS norm, gated MLP. Names are those of the
 * checkpoints of transformers' LlamaForCausalLM.
 */
export function describeRotaryDecoder(
  reader: ConfigReader,
  options: RotaryDecoderOptions,
): Architecture | null {
  const layers = reader.integer('num_hidden_layers', { max: MAX_LAYERS });
  const hiddenSize = reader.integer('hidden_size', { max: MAX_HIDDEN_SIZE });
  const intermediateSize = reader.integer('intermediate_size', { max: MAX_HIDDEN_SIZE });
  const headCount = reader.integer('num_attention_heads', { max: MAX_HEADS });
  const keyValueHeadCount = reader.integer('num_key_value_heads', { max: MAX_HEADS, fallback: headCount });
  const vocabularySize = reader.integer('vocab_size', { max: MAX_VOCABULARY_SIZE });
  const maximumPositions = reader.integer('max_position_embeddings', { max: MAX_CONTEXT_LENGTH });
  const epsilon = readEpsilon(reader);
  const activation = readActivation(reader, 'hidden_act', options.defaultActivation ?? 'silu');
  const headDimension = readHeadDimension(reader, hiddenSize, headCount, options.defaultHeadDimension);
  if (reader.sound('num_attention_heads', 'num_key_value_heads') && headCount % keyValueHeadCount !== 0)
    reader.error(
      'config-contradiction',
      `num_attention_heads ${headCount} is not a multiple of num_key_value_heads ${keyValueHeadCount}`,
    );
  const rope = readRope(reader, options);
  if (reader.has('pretraining_tp') && reader.raw('pretraining_tp') !== 1)
    reader.warning(
      'config-ignored',
      `pretraining_tp ${reader.raw('pretraining_tp')} is ignored: it splits the same computation differently`,
    );
  const window = options.attentionWindow?.(reader, layers, maximumPositions) ?? {
    slidingWindow: null,
    contextLength: maximumPositions,
  };
  const endOfTextIds = reader.tokenIds('eos_token_id', vocabularySize);
  const beginOfTextIds = reader.tokenIds('bos_token_id', vocabularySize);
  if (reader.failed) return null;

  const norm = (weight: string): Norm => ({ kind: 'rms', epsilon, weight, bias: null });
  const queryWidth = headCount * headDimension;
  const keyValueWidth = keyValueHeadCount * headDimension;
  const describeBlock = (index: number): Block => {
    const prefix = `model.layers.${index}`;
    const linear = (
      role: LinearRole,
      module: string,
      outFeatures: number,
      inFeatures: number,
      hasBias: boolean,
    ): Linear => ({
      role,
      name: `${prefix}.${module}`,
      inFeatures,
      outFeatures,
      bias: hasBias ? `${prefix}.${module}.bias` : null,
    });
    const { queryKeyValue, attentionOutput, mlp } = options.biases;
    const attentionNorm = norm(`${prefix}.input_layernorm.weight`);
    const mlpNorm = norm(`${prefix}.post_attention_layernorm.weight`);
    const attentionSubNorm = options.subNorms ? norm(`${prefix}.self_attn.attn_sub_norm.weight`) : null;
    const mlpSubNorm = options.subNorms ? norm(`${prefix}.mlp.ffn_sub_norm.weight`) : null;
    return {
      index,
      attentionNorm,
      queryNorm: options.queryKeyNorms ? norm(`${prefix}.self_attn.q_norm.weight`) : null,
      keyNorm: options.queryKeyNorms ? norm(`${prefix}.self_attn.k_norm.weight`) : null,
      mlpNorm,
      attentionSubNorm,
      mlpSubNorm,
      stages: [
        {
          name: 'attention-in',
          linears: [
            linear('q', 'self_attn.q_proj', queryWidth, hiddenSize, queryKeyValue),
            linear('k', 'self_attn.k_proj', keyValueWidth, hiddenSize, queryKeyValue),
            linear('v', 'self_attn.v_proj', keyValueWidth, hiddenSize, queryKeyValue),
          ],
          foldableNorm: attentionNorm,
        },
        {
          name: 'attention-out',
          linears: [linear('o', 'self_attn.o_proj', hiddenSize, queryWidth, attentionOutput)],
          foldableNorm: attentionSubNorm,
        },
        {
          name: 'mlp-in',
          linears: [
            linear('gate', 'mlp.gate_proj', intermediateSize, hiddenSize, mlp),
            linear('up', 'mlp.up_proj', intermediateSize, hiddenSize, mlp),
          ],
          foldableNorm: mlpNorm,
        },
        {
          name: 'mlp-out',
          linears: [linear('down', 'mlp.down_proj', hiddenSize, intermediateSize, mlp)],
          foldableNorm: mlpSubNorm,
        },
      ],
    };
  };
  return {
    family: options.family,
    modelType: String(reader.raw('model_type')),
    hiddenSize,
    intermediateSize,
    headCount,
    keyValueHeadCount,
    headDimension,
    vocabularySize,
    contextLength: window.contextLength,
    normPlacement: 'pre',
    position: { kind: 'rope', theta: rope.theta, scaling: rope.scaling, rotaryDimensions: headDimension },
    activation,
    mlp: 'gated',
    embedding: {
      table: 'model.embed_tokens.weight',
      embeddingSize: hiddenSize,
      projectIn: null,
      projectOut: null,
    },
    finalNorm: norm('model.norm.weight'),
    head: { weight: 'model.embed_tokens.weight', tied: true, bias: null },
    slidingWindow: window.slidingWindow,
    blocks: Array.from({ length: layers }, (_, index) => describeBlock(index)),
    endOfTextIds,
    beginOfTextId: beginOfTextIds[0] ?? null,
  };
}

function readEpsilon(reader: ConfigReader): number {
  // transformers' default of all four families.
  const fallback = 1e-6;
  if (!reader.has('rms_norm_eps'))
    reader.warning('config-default', `rms_norm_eps is missing; ${fallback} is used, as transformers does`);
  const epsilon = reader.positive('rms_norm_eps', fallback);
  if (reader.sound('rms_norm_eps') && epsilon >= 1)
    reader.error('config-range', `rms_norm_eps is ${epsilon}; it must be below 1`);
  return epsilon;
}

function readHeadDimension(
  reader: ConfigReader,
  hiddenSize: number,
  headCount: number,
  familyDefault: number | undefined,
): number {
  if (!reader.mentions('head_dim') && familyDefault !== undefined) {
    reader.warning('config-default', `head_dim is missing; ${familyDefault} is used, as transformers does`);
    return familyDefault;
  }
  if (!reader.has('head_dim') && hiddenSize % headCount !== 0) {
    if (reader.sound('hidden_size', 'num_attention_heads'))
      reader.error(
        'config-contradiction',
        `hidden_size ${hiddenSize} is not a multiple of num_attention_heads ${headCount} and no head_dim is given`,
      );
    return 2;
  }
  const headDimension = reader.integer('head_dim', {
    max: MAX_HEAD_DIMENSION,
    fallback: Math.floor(hiddenSize / headCount),
  });
  if (reader.sound('hidden_size', 'num_attention_heads', 'head_dim') && headDimension % 2 !== 0)
    reader.error(
      'config-range',
      `the head dimension ${headDimension} is odd; a rotary embedding needs pairs of dimensions`,
    );
  return headDimension;
}

/** transformers' window where a Mistral or Qwen config has no `sliding_window`; null means none. */
const DEFAULT_WINDOW = 4096;

/**
 * Mistral's and Qwen's windows: Mistral applies `sliding_window` to every layer; Qwen only with `use_sliding_window` and from layer
 * `max_window_layers` on, or by `layer_types`. Where only some layers have it, the context is cut to the window, so that what is computed is exact.
 */
export function readAttentionWindow(
  reader: ConfigReader,
  layers: number,
  contextLength: number,
  layersWithWindow: number,
): { slidingWindow: number | null; contextLength: number } {
  const none = { slidingWindow: null, contextLength };
  if (layersWithWindow === 0 || (reader.mentions('sliding_window') && !reader.has('sliding_window')))
    return none;
  const window = reader.integer('sliding_window', { max: MAX_CONTEXT_LENGTH, fallback: DEFAULT_WINDOW });
  if (reader.failed || window >= contextLength) return none;
  if (layersWithWindow === layers) return { slidingWindow: window, contextLength };
  reader.warning(
    'context-cut',
    `${layersWithWindow} of ${layers} layers attend to the last ${window} tokens only; the context length is cut from ${contextLength} to ${window}`,
  );
  return { slidingWindow: null, contextLength: window };
}
