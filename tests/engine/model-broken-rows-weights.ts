import { truncateSync } from 'node:fs';
import path from 'node:path';
import type { ModelSource } from '../../engine/model/source.ts';
import { config, type Row, tensors } from './model-broken-table.ts';
import { float32Tensor } from './model-fixtures.ts';

const q1 = 'model.layers.1.self_attn.q_proj.weight';

/** Reads a tensor and returns what that throws. */
const reading = (name: string) => (model: ModelSource) => {
  try {
    model.readFloat32(name);
    return null;
  } catch (error) {
    return error;
  } finally {
    model.close();
  }
};

/** Sets one float32 of layer 1's q_proj. */
const withValue = (index: number, value: number) =>
  tensors('llama-plain', (all) => {
    const tensor = all.get(q1)!;
    const copy = Buffer.from(tensor.bytes);
    copy.writeFloatLE(value, 4 * index);
    all.set(q1, { ...tensor, bytes: copy });
  });

export const weightRows: Row[] = [
  {
    name: 'NaN in a linear',
    make: withValue(33, Number.NaN),
    read: reading(q1),
    message:
      'model.safetensors: tensor "model.layers.1.self_attn.q_proj.weight" holds NaN at [1, 1]; the file is damaged',
  },
  {
    name: 'an infinity in a linear',
    make: withValue(1023, Number.NEGATIVE_INFINITY),
    read: reading(q1),
    message:
      'model.safetensors: tensor "model.layers.1.self_attn.q_proj.weight" holds -Infinity at [31, 31]; the file is damaged',
  },
  {
    name: 'a float64 beyond the range of float32',
    make: tensors('llama-plain', (all) => {
      const values = new Float64Array(32).fill(1);
      values[5] = 1e39;
      all.set('model.norm.weight', { dtype: 'F64', shape: [32], bytes: new Uint8Array(values.buffer) });
    }),
    read: reading('model.norm.weight'),
    message: 'model.safetensors: tensor "model.norm.weight" holds Infinity at [5]; the file is damaged',
  },
  {
    name: 'a file that is cut after it was opened',
    make: config('llama-plain', {}),
    read: (model) => {
      truncateSync(path.join(model.path, 'model.safetensors'), 50_000);
      return reading('model.norm.weight')(model);
    },
    message: 'model.safetensors ends at byte 100840, before byte 100968; it was changed or cut while in use',
  },
  {
    name: 'a missing linear',
    make: tensors('llama-plain', (all) => all.delete(q1)),
    message: 'FOLDER: one tensor is missing: "model.layers.1.self_attn.q_proj.weight"',
  },
  {
    name: 'a whole layer missing',
    make: config('llama-plain', { num_hidden_layers: 3 }),
    message:
      'FOLDER: 9 tensors are missing: "model.layers.2.input_layernorm.weight", "model.layers.2.post_attention_layernorm.weight", "model.layers.2.self_attn.q_proj.weight", …',
  },
  {
    name: 'a layer more than the config says',
    make: config('llama-plain', { num_hidden_layers: 1 }),
    message:
      'FOLDER: config.json says num_hidden_layers 1 but tensors with layer index 1 are stored; the weights belong to another model',
  },
  {
    name: 'a linear of another width',
    make: tensors('llama-plain', (all) => all.set(q1, float32Tensor([32, 16], 0.5))),
    message:
      'FOLDER: layer 1 q_proj: weight is [32, 16] but config.json implies [32, 32] (hidden_size 32); the weights belong to another model',
  },
  {
    name: 'a linear of three dimensions',
    make: tensors('llama-plain', (all) => all.set(q1, float32Tensor([1, 32, 32], 0.5))),
    message:
      'FOLDER: layer 1 q_proj: weight is [1, 32, 32] but config.json implies [32, 32] (num_attention_heads 4 × head_dim 8, hidden_size 32); the weights belong to another model',
  },
  {
    name: 'a vocabulary larger than the embedding',
    make: config('llama-plain', { vocab_size: 300 }),
    message:
      'FOLDER: embedding: weight is [288, 32] but config.json implies [300, 32] (vocab_size 300); the weights belong to another model',
  },
  {
    name: 'another feed-forward width',
    make: config('llama-plain', { intermediate_size: 64 }),
    message:
      'FOLDER: layer 0 gate_proj: weight is [48, 32] but config.json implies [64, 32] (intermediate_size 64); the weights belong to another model (and 5 more problems; inspect lists all)',
  },
  {
    name: 'keys of another number of heads',
    make: config('llama-plain', { num_key_value_heads: 1 }),
    message:
      'FOLDER: layer 0 k_proj: weight is [16, 32] but config.json implies [8, 32] (num_key_value_heads 1 × head_dim 8); the weights belong to another model (and 3 more problems; inspect lists all)',
  },
  {
    name: 'fewer positions than the config says (OPT)',
    make: config('opt-relu', { max_position_embeddings: 512 }),
    message:
      'FOLDER: position embedding: weight is [258, 32] but config.json implies [514, 32] (max_position_embeddings 512 + 2); the weights belong to another model',
  },
  {
    name: 'biases that the config denies',
    make: config('llama-attention-bias', { attention_bias: false }),
    message:
      'FOLDER: "model.layers.0.self_attn.k_proj.bias" and 7 more biases are stored but config.json describes a llama model without; the weights belong to another model',
  },
  {
    name: 'no biases where the config has them',
    make: config('llama-plain', { attention_bias: true }),
    message:
      'FOLDER: 8 tensors are missing: "model.layers.0.self_attn.q_proj.bias", "model.layers.0.self_attn.k_proj.bias", "model.layers.0.self_attn.v_proj.bias", …',
  },
  {
    name: 'the head dimension that a Qwen3 config leaves out',
    make: config('qwen3', { head_dim: undefined }),
    message:
      'FOLDER: layer 0 q_norm: weight is [16] but config.json implies [128] (head_dim 128); the weights belong to another model (and 11 more problems; inspect lists all)',
  },
  {
    name: 'integers for weights',
    make: tensors('llama-plain', (all) =>
      all.set('model.norm.weight', { dtype: 'I32', shape: [32], bytes: new Uint8Array(128) }),
    ),
    code: 'unsupported-model',
    message:
      'FOLDER: final norm: weight is stored as I32; weights can be read from F32, F16, BF16, F64, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, Q1_0, Q2_0, TQ1_0, TQ2_0',
  },
  {
    name: 'no embedding beside a head of its own',
    make: tensors('llama-untied', (all) => all.delete('model.embed_tokens.weight')),
    message: 'FOLDER: one tensor is missing: "model.embed_tokens.weight"',
  },
];
