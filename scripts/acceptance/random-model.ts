import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { type ModelShape, modelShapes } from '../../engine/model/model-shapes.ts';
import { byteLevelTokenizer, shapeConfig } from '../../engine/package/synthetic/synthetic-config.ts';
import { randomSource } from '../fuzz/mutate.ts';

/** The shape of TinyLlama-1.1B with its first two blocks only. */
export const tinyLlamaTwoBlocks: ModelShape = { ...modelShapes['tinyllama-1.1b'], blockCount: 2 };

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
    JSON.stringify({ ...shapeConfig(shape), torch_dtype: 'bfloat16' }),
  );
  writeFileSync(path.join(folder, 'tokenizer.json'), JSON.stringify(byteLevelTokenizer()));
  writeFileSync(
    path.join(folder, 'tokenizer_config.json'),
    JSON.stringify({ tokenizer_class: 'PreTrainedTokenizerFast' }),
  );
}
