import { families } from '../families/index.ts';
import { count, type ProblemList, quote, show } from '../problems.ts';
import type { GgufHeader } from './header.ts';
import type { GgufMetadata, GgufValue } from './metadata.ts';
import { llama3Scaling } from './rope-factors.ts';

/** `architectures` of the config.json that is made for each GGUF architecture. */
const modelClasses: Record<string, string> = {
  llama: 'LlamaForCausalLM',
  mistral: 'MistralForCausalLM',
  qwen2: 'Qwen2ForCausalLM',
  qwen3: 'Qwen3ForCausalLM',
};

/** Fields of config.json and the metadata they come from, behind the architecture's name. */
export const ggufFields = {
  hidden_size: 'embedding_length',
  intermediate_size: 'feed_forward_length',
  num_hidden_layers: 'block_count',
  num_attention_heads: 'attention.head_count',
  num_key_value_heads: 'attention.head_count_kv',
  max_position_embeddings: 'context_length',
  rms_norm_eps: 'attention.layer_norm_rms_epsilon',
  rope_theta: 'rope.freq_base',
  vocab_size: 'vocab_size',
};

/**
 * Makes config.json from a GGUF's metadata, so that the family reads both formats alike. What the metadata leave out (biases) is taken from the
 * tensors that are there. Only fields that the metadata hold are set: what is missing is reported by the family. Null where problems were recorded
 * that leave nothing to describe. `ropeFactors` is the content of `rope_freqs.weight`.
 */
export function configFromGguf(
  header: GgufHeader,
  ropeFactors: Float32Array | null,
  fileName: string,
  problems: ProblemList,
): Record<string, unknown> | null {
  const { metadata, tensors } = header;
  const fail = (code: string, message: string) => {
    problems.error(code, `${fileName}: ${message}`);
    return null;
  };
  const architecture = metadata.get('general.architecture');
  if (typeof architecture !== 'string')
    return fail(
      'config-missing',
      `general.architecture is ${architecture === undefined ? 'missing' : 'not a string'}`,
    );
  const family = families.find((candidate) => candidate.ggufArchitectures.includes(architecture));
  if (family === undefined)
    return fail(
      'unsupported-family',
      `general.architecture ${quote(architecture)} is not supported; supported are ${families.flatMap((f) => f.ggufArchitectures).join(', ')}`,
    );
  const type = metadata.get('general.type');
  if (type !== undefined && type !== 'model')
    return fail('unsupported-format', `general.type is ${showValue(type)}; only "model" can be used`);
  const splits = metadata.get('split.count');
  if (splits !== undefined && splits !== 0 && splits !== 1)
    return fail(
      'unsupported-format',
      `the file is one of ${showValue(splits)} that a model was split into; merge them into one file`,
    );

  const get = (key: string) => uniform(metadata.get(`${architecture}.${key}`));
  const experts = get('expert_count');
  if (experts !== undefined && experts !== 0)
    return fail(
      'unsupported-family',
      `the model is a mixture of ${showValue(experts)} experts, which is not supported`,
    );
  const keyLength = get('attention.key_length');
  const valueLength = get('attention.value_length');
  if (keyLength !== valueLength && keyLength !== undefined && valueLength !== undefined)
    return fail(
      'unsupported-attention',
      `keys have ${showValue(keyLength)} dimensions and values ${showValue(valueLength)}; only equal ones are supported`,
    );

  const window = get('attention.sliding_window');
  const hasWindow = window !== undefined && window !== 0;
  // ggml knows Mistral as llama; only its window tells them apart, and only then does it matter.
  const modelType = architecture === 'llama' && hasWindow ? 'mistral' : architecture;
  const has = (name: string) => tensors.has(name);
  const config: Record<string, unknown> = {
    architectures: [modelClasses[modelType]],
    model_type: modelType,
    hidden_act: 'silu',
    tie_word_embeddings: !has('output.weight'),
  };
  const set = (key: string, value: GgufValue | undefined) => {
    if (value !== undefined) config[key] = showable(value);
  };
  for (const [field, key] of Object.entries(ggufFields)) set(field, get(key));
  // Older files leave the vocabulary's size to the embedding's rows.
  set('vocab_size', get('vocab_size') ?? tensors.get('token_embd.weight')?.shape[0]);
  const headDimension = keyLength ?? quotient(config.hidden_size, config.num_attention_heads);
  set('head_dim', headDimension);
  setTokenIds(config, metadata);
  if (modelType === 'llama') {
    config.attention_bias = has('blk.0.attn_q.bias');
    config.mlp_bias = has('blk.0.ffn_gate.bias');
  } else if (modelType === 'mistral') config.sliding_window = window;
  else {
    config.use_sliding_window = hasWindow;
    if (hasWindow) {
      config.sliding_window = window;
      config.max_window_layers = 0;
    }
    if (modelType === 'qwen3') config.attention_bias = has('blk.0.attn_q.bias');
  }
  const rotary = get('rope.dimension_count');
  if (typeof rotary === 'number' && typeof headDimension === 'number' && rotary !== headDimension)
    config.partial_rotary_factor = rotary / headDimension;
  config.rope_scaling = ropeScaling(get, ropeFactors, config, fail);
  return config;
}

/** A value that may be given once for each layer: the one value where all are equal, a visible list else. */
function uniform(value: GgufValue | undefined): GgufValue | undefined {
  if (typeof value !== 'object') return value;
  const list = Array.from(value as ArrayLike<GgufValue>);
  return list.length > 0 && list.every((item) => item === list[0]) ? list[0] : list;
}

function quotient(a: unknown, b: unknown): number | undefined {
  return typeof a === 'number' && typeof b === 'number' && b > 0 && a % b === 0 ? a / b : undefined;
}

function setTokenIds(config: Record<string, unknown>, metadata: GgufMetadata): void {
  const id = (key: string) => {
    const value = metadata.get(`tokenizer.ggml.${key}_token_id`);
    return typeof value === 'number' ? [value] : [];
  };
  const [begin] = id('bos');
  if (begin !== undefined) config.bos_token_id = begin;
  const ends = [...new Set([...id('eos'), ...id('eot'), ...id('eom')])];
  if (ends.length > 0) config.eos_token_id = ends.length === 1 ? ends[0] : ends;
}

function ropeScaling(
  get: (key: string) => GgufValue | undefined,
  ropeFactors: Float32Array | null,
  config: Record<string, unknown>,
  fail: (code: string, message: string) => null,
): Record<string, unknown> | null {
  const type = get('rope.scaling.type');
  const legacyFactor = get('rope.scale_linear');
  if (type !== undefined && type !== 'none' && type !== 'linear' && type !== 'llama3')
    return { rope_type: showable(type) };
  if (ropeFactors !== null) {
    const scaling = llama3Scaling(
      ropeFactors,
      Number(config.rope_theta),
      Number(config.head_dim),
      get('rope.scaling.original_context_length'),
    );
    if (scaling === 'unknown')
      return fail(
        'unsupported-rope',
        `rope_freqs.weight holds frequency factors that are not those of LLaMA-3's scaling: ${show(Array.from(ropeFactors.slice(0, 6)))}`,
      );
    return scaling;
  }
  if (type === 'linear') return { rope_type: 'linear', factor: showable(get('rope.scaling.factor')) };
  if (type === undefined && typeof legacyFactor === 'number' && legacyFactor !== 1)
    return { rope_type: 'linear', factor: shortest(legacyFactor) };
  return null;
}

function showable(value: GgufValue | undefined): unknown {
  return typeof value === 'bigint' ? value.toString() : typeof value === 'number' ? shortest(value) : value;
}

function showValue(value: GgufValue): string {
  return typeof value === 'bigint' ? count(value) : show(value);
}

/** The shortest decimal number with the same float32, where the value is one: 1e-5 instead of 0.000009999999747378752. */
function shortest(value: number): number {
  if (Number.isInteger(value) || Math.fround(value) !== value) return value;
  for (let digits = 1; digits < 9; digits++) {
    const candidate = Number(value.toPrecision(digits));
    if (Math.fround(candidate) === value) return candidate;
  }
  return value;
}
