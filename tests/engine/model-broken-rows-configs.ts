import { config, type Row } from './model-broken-table.ts';

export const configRows: Row[] = [
  {
    name: 'names no family',
    make: config('llama-plain', { model_type: undefined }),
    message: 'FOLDER: config.json: model_type is missing',
  },
  {
    name: 'names an unknown family',
    make: config('llama-plain', { model_type: 'mamba2' }),
    code: 'unsupported-model',
    message:
      'FOLDER: config.json: model_type "mamba2" is not supported; supported are llama, mistral, qwen2, qwen3, bitnet, opt',
  },
  {
    name: 'names a family that is no string',
    make: config('llama-plain', { model_type: ['llama'] }),
    code: 'unsupported-model',
    message:
      'FOLDER: config.json: model_type ["llama"] is not supported; supported are llama, mistral, qwen2, qwen3, bitnet, opt',
  },
  {
    name: 'describes weights that are quantized already',
    make: config('llama-plain', { quantization_config: { quant_method: 'awq', bits: 4 } }),
    code: 'unsupported-model',
    message:
      'FOLDER: config.json: the weights are already quantized (quant_method "awq"); the full-precision model is needed',
  },
  {
    name: 'describes a packed model',
    make: config('llama-plain', { quantization_config: { quant_method: 'dbell' } }),
    code: 'unsupported-model',
    message:
      'FOLDER: config.json: this folder is a packed model already; the full-precision model is needed here',
  },
  {
    name: 'has no hidden size',
    make: config('llama-plain', { hidden_size: null }),
    message: 'FOLDER: config.json: hidden_size is missing',
  },
  {
    name: 'has a hidden size in words',
    make: config('llama-plain', { hidden_size: '32' }),
    message: 'FOLDER: config.json: hidden_size is "32"; it must be a whole number from 1 to 1,048,576',
  },
  {
    name: 'has a billion layers',
    make: config('llama-plain', { num_hidden_layers: 1e9 }),
    message:
      'FOLDER: config.json: num_hidden_layers is 1000000000; it must be a whole number from 1 to 4,096',
  },
  {
    name: 'has no heads',
    make: config('llama-plain', { num_attention_heads: 0 }),
    message: 'FOLDER: config.json: num_attention_heads is 0; it must be a whole number from 1 to 4,096',
  },
  {
    name: 'has a width that heads do not divide',
    make: config('llama-plain', { hidden_size: 66 }),
    message:
      'FOLDER: config.json: hidden_size 66 is not a multiple of num_attention_heads 4 and no head_dim is given',
  },
  {
    name: 'has heads that key heads do not divide',
    make: config('llama-plain', { num_key_value_heads: 3 }),
    message: 'FOLDER: config.json: num_attention_heads 4 is not a multiple of num_key_value_heads 3',
  },
  {
    name: 'has an odd head dimension',
    make: config('llama-plain', { head_dim: 7 }),
    message: 'FOLDER: config.json: the head dimension 7 is odd; a rotary embedding needs pairs of dimensions',
  },
  {
    name: 'has a width that heads do not divide (OPT)',
    make: config('opt-relu', { num_attention_heads: 5 }),
    message: 'FOLDER: config.json: hidden_size 32 is not a multiple of num_attention_heads 5',
  },
  {
    name: 'has an epsilon of zero',
    make: config('llama-plain', { rms_norm_eps: 0 }),
    message: 'FOLDER: config.json: rms_norm_eps is 0; it must be a number above 0',
  },
  {
    name: 'has a flag that is a word',
    make: config('llama-plain', { attention_bias: 'no' }),
    message: 'FOLDER: config.json: attention_bias is "no"; it must be true or false',
  },
  {
    name: 'has an activation that is not known',
    make: config('llama-plain', { hidden_act: 'xielu' }),
    code: 'unsupported-model',
    message:
      'FOLDER: config.json: hidden_act is "xielu", which is not supported; supported are silu, swish, relu, relu2, gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, quick_gelu',
  },
  {
    name: 'has an end id that is no number',
    make: config('llama-plain', { eos_token_id: [1, '2'] }),
    message: 'FOLDER: config.json: eos_token_id is [1,"2"]; it must be a token id or a list of token ids',
  },
  {
    name: 'scales rope by yarn',
    make: config('llama-plain', { rope_scaling: { type: 'yarn', factor: 4 } }),
    code: 'unsupported-model',
    message:
      'FOLDER: config.json: rope_scaling has type "yarn", which is not supported; supported are default, linear and llama3',
  },
  {
    name: 'scales rope dynamically',
    make: config('llama-plain', { rope_scaling: { rope_type: 'dynamic', factor: 4 } }),
    code: 'unsupported-model',
    message:
      'FOLDER: config.json: rope_scaling has type "dynamic", which is not supported; supported are default, linear and llama3',
  },
  {
    name: 'scales rope by longrope',
    make: config('llama-plain', {
      rope_parameters: { rope_type: 'longrope', rope_theta: 1e4 },
      rope_theta: undefined,
      rope_scaling: undefined,
    }),
    code: 'unsupported-model',
    message:
      'FOLDER: config.json: rope_parameters has type "longrope", which is not supported; supported are default, linear and llama3',
  },
  {
    name: 'scales rope in a way that is not known',
    make: config('llama-plain', { rope_scaling: { rope_type: 'spiral' } }),
    code: 'unsupported-model',
    message:
      'FOLDER: config.json: rope_scaling has type "spiral", which is not supported; supported are default, linear and llama3',
  },
  {
    name: 'scales rope in no named way',
    make: config('llama-plain', { rope_scaling: { factor: 4 } }),
    message: 'FOLDER: config.json: rope_scaling names no rope_type',
  },
  {
    name: 'scales rope by a word',
    make: config('llama-plain', { rope_scaling: 'linear' }),
    message: 'FOLDER: config.json: rope_scaling is "linear"; it must be an object or null',
  },
  {
    name: 'scales rope without a factor',
    make: config('llama-plain', { rope_scaling: { type: 'linear' } }),
    message: 'FOLDER: config.json: rope_scaling.factor is missing for rope type "linear"',
  },
  {
    name: 'blends no frequencies',
    make: config('llama-rope-llama3', {
      rope_scaling: {
        rope_type: 'llama3',
        factor: 8,
        low_freq_factor: 4,
        high_freq_factor: 4,
        original_max_position_embeddings: 32,
      },
    }),
    message: 'FOLDER: config.json: rope_scaling.high_freq_factor 4 must be above low_freq_factor 4',
  },
  {
    name: 'names two types of rope',
    make: config('llama-plain', { rope_scaling: { rope_type: 'linear', type: 'llama3', factor: 4 } }),
    message: 'FOLDER: config.json: rope_scaling.rope_type is "linear" but rope_scaling.type is "llama3"',
  },
  {
    name: 'names two bases of rope',
    make: config('llama-plain', { rope_parameters: { rope_type: 'default', rope_theta: 5e5 } }),
    message: 'FOLDER: config.json: rope_parameters.rope_theta is 500000 but rope_theta is 10000',
  },
  {
    name: 'contradicts its rope scaling',
    make: config('llama-plain', {
      rope_parameters: { rope_type: 'default', rope_theta: 1e4 },
      rope_scaling: { type: 'linear', factor: 2 },
    }),
    message: 'FOLDER: config.json: rope_parameters (none) and rope_scaling (linear) contradict each other',
  },
  {
    name: 'rotates half of each head',
    make: config('llama-plain', { partial_rotary_factor: 0.5 }),
    code: 'unsupported-model',
    message:
      'FOLDER: config.json: partial_rotary_factor is 0.5; only 1 (all dimensions of a head rotate) is supported',
  },
  {
    name: 'has rope parameters by layer type',
    make: config('qwen3', {
      rope_parameters: { full_attention: { rope_theta: 1e6 } },
      rope_theta: undefined,
    }),
    code: 'unsupported-model',
    message: 'FOLDER: config.json: rope_parameters differ by layer type, which is not supported',
  },
  {
    name: 'has rope parameters without a base',
    make: config('llama-plain', { rope_theta: undefined, rope_parameters: { rope_type: 'default' } }),
    message: 'FOLDER: config.json: rope_theta is missing and models of this kind use different values',
  },
  {
    name: 'has LLaMA-3 scaling without a base',
    make: config('llama-rope-llama3', { rope_theta: undefined }),
    message: 'FOLDER: config.json: rope_theta is missing and models of this kind use different values',
  },
  {
    name: 'has no base (Qwen)',
    make: config('qwen2', { rope_theta: undefined }),
    message: 'FOLDER: config.json: rope_theta is missing and models of this kind use different values',
  },
  {
    name: 'has layers of an unknown kind of attention',
    make: config('qwen3', {
      use_sliding_window: true,
      sliding_window: 8,
      layer_types: ['full_attention', 'linear_attention'],
    }),
    code: 'unsupported-model',
    message:
      'FOLDER: config.json: layer_types is ["full_attention","linear_attention"]; it must name full_attention or sliding_attention for each of 2 layers',
  },
];
