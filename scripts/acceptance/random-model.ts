import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { byteToCharacter } from '../../engine/model/tokenizer-bytes.ts';
import { randomSource } from '../fuzz/mutate.ts';
import { type ModelShape, modelShapes } from '../model-shapes.ts';

/** The shape of TinyLlama-1.1B with its first two blocks only. */
export const tinyLlamaTwoBlocks: ModelShape = { ...modelShapes.tinyllama, blockCount: 2 };

/**
 * Writes a LLaMA-type Hugging Face folder with seeded random BF16 weights (standard deviation 0.02) and a byte-level tokenizer, for measuring cost where
 * no real model of that shape is at hand.
 */
export function writeRandomModel(folder: string, shape: ModelShape, seed = 1): void {
  mkdirSync(folder, { recursive: true });
  const { hiddenSize, intermediateSize, headCount, keyValueHeadCount, vocabularySize } = shape;
  const keyValueSize = (hiddenSize / headCount) * keyValueHeadCount;
  const tensors: [string, number[]][] = [['model.embed_tokens.weight', [vocabularySize, hiddenSize]]];
  for (let index = 0; index < shape.blockCount; index++) {
    const prefix = `model.layers.${index}`;
    tensors.push(
      [`${prefix}.input_layernorm.weight`, [hiddenSize]],
      [`${prefix}.post_attention_layernorm.weight`, [hiddenSize]],
      [`${prefix}.self_attn.q_proj.weight`, [hiddenSize, hiddenSize]],
      [`${prefix}.self_attn.k_proj.weight`, [keyValueSize, hiddenSize]],
      [`${prefix}.self_attn.v_proj.weight`, [keyValueSize, hiddenSize]],
      [`${prefix}.self_attn.o_proj.weight`, [hiddenSize, hiddenSize]],
      [`${prefix}.mlp.gate_proj.weight`, [intermediateSize, hiddenSize]],
      [`${prefix}.mlp.up_proj.weight`, [intermediateSize, hiddenSize]],
      [`${prefix}.mlp.down_proj.weight`, [hiddenSize, intermediateSize]],
    );
  }
  tensors.push(['model.norm.weight', [hiddenSize]], ['lm_head.weight', [vocabularySize, hiddenSize]]);
  const header: Record<string, unknown> = {};
  let offset = 0;
  for (const [name, dimensions] of tensors) {
    const bytes = 2 * dimensions.reduce((a, b) => a * b, 1);
    header[name] = { dtype: 'BF16', shape: dimensions, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  const json = Buffer.from(JSON.stringify(header));
  const padded = Buffer.alloc(8 * Math.ceil(json.length / 8), ' ');
  json.copy(padded);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  const file = openSync(path.join(folder, 'model.safetensors'), 'w');
  writeSync(file, length);
  writeSync(file, padded);
  const random = randomSource(seed);
  const bits = new Uint32Array(1);
  const value = new Float32Array(bits.buffer);
  for (const [, dimensions] of tensors) {
    const values = new Uint16Array(dimensions.reduce((a, b) => a * b, 1));
    for (let i = 0; i < values.length; i++) {
      // Sum of four uniforms: close enough to a normal distribution, variance 1/3.
      value[0] =
        dimensions.length === 1 ? 1 : 0.02 * Math.sqrt(3) * (random() + random() + random() + random() - 2);
      values[i] = bits[0]! >>> 16;
    }
    writeSync(file, new Uint8Array(values.buffer));
  }
  closeSync(file);
  writeFileSync(
    path.join(folder, 'config.json'),
    JSON.stringify({
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      hidden_size: hiddenSize,
      intermediate_size: intermediateSize,
      num_hidden_layers: shape.blockCount,
      num_attention_heads: headCount,
      num_key_value_heads: keyValueHeadCount,
      vocab_size: vocabularySize,
      max_position_embeddings: shape.contextLength,
      rms_norm_eps: 1e-5,
      rope_theta: 10_000,
      hidden_act: 'silu',
      tie_word_embeddings: false,
      bos_token_id: 1,
      eos_token_id: 2,
      torch_dtype: 'bfloat16',
    }),
  );
  writeFileSync(path.join(folder, 'tokenizer.json'), JSON.stringify(byteLevelTokenizer()));
  writeFileSync(
    path.join(folder, 'tokenizer_config.json'),
    JSON.stringify({ tokenizer_class: 'PreTrainedTokenizerFast' }),
  );
}

/** A byte-level BPE with the 256 byte tokens and one merge. */
function byteLevelTokenizer(): Record<string, unknown> {
  const vocabulary: Record<string, number> = {};
  for (const [byte, character] of byteToCharacter.entries()) vocabulary[character] = byte;
  vocabulary.th = 256;
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: vocabulary,
      merges: ['t h'],
    },
  };
}
