import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import { signedUniform, tinyModels } from './package-support.ts';

/** Sizes that are multiples of nothing: two and three blocks of 128 columns, the last ones of 72 and 77. */
const hiddenSize = 200;
const intermediateSize = 333;
const vocabularySize = 288;

/** Writes a LLaMA of one block with random weights and odd widths, all weights of its norms `normWeight`; its tokenizer is that of the tiny models. */
export function writeWideModel(folder: string, normWeight = 1): void {
  const from = path.join(tinyModels, 'llama-odd-widths');
  cpSync(from, folder, { recursive: true });
  const configFile = path.join(folder, 'config.json');
  const config = JSON.parse(readFileSync(configFile, 'utf8')) as Record<string, unknown>;
  Object.assign(config, {
    hidden_size: hiddenSize,
    intermediate_size: intermediateSize,
    num_hidden_layers: 1,
    torch_dtype: 'float32',
  });
  delete config.head_dim;
  writeFileSync(configFile, JSON.stringify(config));
  const shapes: Record<string, number[]> = { 'model.embed_tokens.weight': [vocabularySize, hiddenSize] };
  if (config.tie_word_embeddings === false) shapes['lm_head.weight'] = [vocabularySize, hiddenSize];
  const block = 'model.layers.0';
  for (const part of ['q', 'k', 'v', 'o'])
    shapes[`${block}.self_attn.${part}_proj.weight`] = [hiddenSize, hiddenSize];
  for (const part of ['gate', 'up'])
    shapes[`${block}.mlp.${part}_proj.weight`] = [intermediateSize, hiddenSize];
  shapes[`${block}.mlp.down_proj.weight`] = [hiddenSize, intermediateSize];
  for (const norm of [`${block}.input_layernorm`, `${block}.post_attention_layernorm`, 'model.norm'])
    shapes[`${norm}.weight`] = [hiddenSize];
  writeSafetensors(path.join(folder, 'model.safetensors'), shapes, normWeight);
}

function writeSafetensors(file: string, shapes: Record<string, number[]>, normWeight: number): void {
  const random = new SeededRandom(5);
  const header: Record<string, unknown> = {};
  const parts: Buffer[] = [];
  let at = 0;
  for (const [name, shape] of Object.entries(shapes)) {
    const length = shape.reduce((product, size) => product * size, 1);
    const values = Float32Array.from({ length }, () =>
      shape.length === 1 ? normWeight : 0.1 * signedUniform(random),
    );
    header[name] = { dtype: 'F32', shape, data_offsets: [at, at + 4 * length] };
    parts.push(Buffer.from(values.buffer));
    at += 4 * length;
  }
  const json = Buffer.from(JSON.stringify(header));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(file, Buffer.concat([size, json, ...parts]));
}
