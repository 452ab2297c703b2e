import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import type { ModelSource } from '../../engine/model/source.ts';
import {
  bytes,
  config,
  file,
  header,
  lengthField,
  type Row,
  shards,
  tensors,
  testBrokenInputs,
  weightFile,
} from './model-broken-table.ts';
import { copyTinyModel, editJson, float32Tensor } from './model-fixtures.ts';

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

const safetensorsRows: Row[] = [
  {
    name: 'is empty',
    make: file(weightFile, ''),
    message: 'FOLDER: model.safetensors: the file has 0 bytes; a safetensors file has at least 10',
  },
  {
    name: 'claims a header of 2^63 bytes',
    make: lengthField(2n ** 63n),
    message:
      'FOLDER: model.safetensors: the header claims 9,223,372,036,854,775,808 bytes but the file has 100,968; it is cut or not a safetensors file',
  },
  {
    name: 'claims a header one byte longer than the file',
    make: lengthField(100_961n),
    message:
      'FOLDER: model.safetensors: the header claims 100,961 bytes but the file has 100,968; it is cut or not a safetensors file',
  },
  {
    name: 'claims a header of no bytes',
    make: lengthField(0n),
    message: 'FOLDER: model.safetensors: the header is not valid JSON',
  },
  {
    name: 'is cut by one byte',
    make: bytes((name) => truncateSync(name, 100_967)),
    message:
      'FOLDER: model.safetensors: tensor "model.norm.weight": data_offsets [98816, 98944] reach beyond the file\'s 98,943 data bytes; the file is cut',
  },
  {
    name: 'has a byte too many',
    make: bytes((name) => truncateSync(name, 100_969)),
    message: 'FOLDER: model.safetensors: after the last tensor lie 1 byte of no tensor',
  },
  {
    name: 'is a web page',
    make: file(weightFile, '<!doctype html><html><body>Sign in</body></html>'),
    message:
      'FOLDER: model.safetensors: the header claims 8,104,636,974,849,335,612 bytes but the file has 48; it is cut or not a safetensors file',
  },
  {
    name: 'has a header that is no JSON',
    make: header(
      () => {},
      (text) => `?${text.slice(1)}`,
    ),
    message: 'FOLDER: model.safetensors: the header is not valid JSON',
  },
  {
    name: 'has a header that is an array',
    make: header(
      () => {},
      () => '[1,2,3]',
    ),
    message: 'FOLDER: model.safetensors: the header is not a JSON object',
  },
  {
    name: 'has a header of brackets',
    make: header(
      () => {},
      () => `{"a":${'['.repeat(100_000)}`,
    ),
    message: 'FOLDER: model.safetensors: the header is nested deeper than 64 levels',
  },
  {
    name: 'has a header that is not UTF-8',
    make: bytes((name) => {
      const content = readFileSync(name);
      content[12] = 0xff;
      writeFileSync(name, content);
    }),
    message: 'FOLDER: model.safetensors: the header is not valid UTF-8',
  },
  {
    name: 'names a tensor twice',
    make: header(
      () => {},
      (text) =>
        text.replace('"model.layers.0.mlp.up_proj.weight"', '"model.layers.0.mlp.gate\\u005fproj.weight"'),
    ),
    message: 'FOLDER: model.safetensors: the header names "model.layers.0.mlp.gate_proj.weight" twice',
  },
  {
    name: 'has an entry that is no object',
    make: header((h) => Object.assign(h, { [q1]: 7 })),
    message:
      'FOLDER: model.safetensors: tensor "model.layers.1.self_attn.q_proj.weight": the entry is 7, not an object',
  },
  {
    name: 'has a dtype that is not known',
    make: header((h) => {
      h[q1]!.dtype = 'F8_E4M3';
    }),
    code: 'unsupported-model',
    message:
      'FOLDER: model.safetensors: tensor "model.layers.1.self_attn.q_proj.weight": dtype "F8_E4M3" is unknown; supported are F64, I64, U64, F32, I32, U32, F16, BF16, I16, U16, I8, U8, BOOL',
  },
  {
    name: 'has a dtype that is a property of every object',
    make: header((h) => {
      h[q1]!.dtype = 'constructor';
    }),
    code: 'unsupported-model',
    message:
      'FOLDER: model.safetensors: tensor "model.layers.1.self_attn.q_proj.weight": dtype "constructor" is unknown; supported are F64, I64, U64, F32, I32, U32, F16, BF16, I16, U16, I8, U8, BOOL',
  },
  {
    name: 'has no dtype',
    make: header((h) => {
      delete h[q1]!.dtype;
    }),
    message:
      'FOLDER: model.safetensors: tensor "model.layers.1.self_attn.q_proj.weight": dtype is absent, not a string',
  },
  {
    name: 'has a negative size',
    make: header((h) => {
      h[q1]!.shape = [-32, -32];
    }),
    message:
      'FOLDER: model.safetensors: tensor "model.layers.1.self_attn.q_proj.weight": shape [-32,-32] is not a list of sizes',
  },
  {
    name: 'has a fractional size',
    make: header((h) => {
      h[q1]!.shape = [0.5, 2048];
    }),
    message:
      'FOLDER: model.safetensors: tensor "model.layers.1.self_attn.q_proj.weight": shape [0.5,2048] is not a list of sizes',
  },
  {
    name: 'has a shape beyond 2^53 elements',
    make: header((h) => {
      h[q1]!.shape = [2 ** 40, 2 ** 40];
    }),
    message:
      'FOLDER: model.safetensors: tensor "model.layers.1.self_attn.q_proj.weight": F32 [1099511627776, 1099511627776] takes more than 2^53 bytes but data_offsets hold 4,096',
  },
  {
    name: 'has nine dimensions',
    make: header((h) => {
      h[q1]!.shape = [1, 1, 1, 1, 1, 1, 1, 32, 32];
    }),
    message:
      'FOLDER: model.safetensors: tensor "model.layers.1.self_attn.q_proj.weight": 9 dimensions are more than the limit of 8',
  },
  {
    name: 'has a negative offset',
    make: header((h) => {
      h[q1]!.data_offsets = [-4, 4092];
    }),
    message:
      'FOLDER: model.safetensors: tensor "model.layers.1.self_attn.q_proj.weight": data_offsets [-4,4092] are not two positions',
  },
  {
    name: 'has an offset that is no number',
    make: header((h) => {
      h[q1]!.data_offsets = ['0', 4096];
    }),
    message:
      'FOLDER: model.safetensors: tensor "model.layers.1.self_attn.q_proj.weight": data_offsets ["0",4096] are not two positions',
  },
  {
    name: 'has offsets that run backwards',
    make: header((h) => {
      h[q1]!.data_offsets = [4096, 0];
    }),
    message:
      'FOLDER: model.safetensors: tensor "model.layers.1.self_attn.q_proj.weight": data_offsets [4096, 0] run backwards',
  },
  {
    name: 'has an offset beyond 2^53',
    make: header((h) => {
      h[q1]!.data_offsets = [0, 2 ** 60];
    }),
    message:
      'FOLDER: model.safetensors: tensor "model.layers.1.self_attn.q_proj.weight": data_offsets [0,1152921504606847000] are not two positions',
  },
  {
    name: 'has a tensor beyond the end',
    make: header((h) => {
      h[q1]!.data_offsets = [98_944, 103_040];
    }),
    message:
      'FOLDER: model.safetensors: tensor "model.layers.1.self_attn.q_proj.weight": data_offsets [98944, 103040] reach beyond the file\'s 98,944 data bytes; the file is cut',
  },
  {
    name: 'has a shape that the bytes contradict',
    make: header((h) => {
      h[q1]!.shape = [32, 31];
    }),
    message:
      'FOLDER: model.safetensors: tensor "model.layers.1.self_attn.q_proj.weight": F32 [32, 31] takes 3,968 bytes but data_offsets hold 4,096',
  },
  {
    name: 'has two tensors in one place',
    make: header((h) => {
      h[q1]!.data_offsets = h['model.layers.0.self_attn.q_proj.weight']!.data_offsets;
    }),
    message:
      'FOLDER: model.safetensors: tensors "model.layers.0.self_attn.q_proj.weight" and "model.layers.1.self_attn.q_proj.weight" overlap at data byte 61696 (and 1 more problem; inspect lists all)',
  },
  {
    name: 'has bytes that belong to no tensor',
    make: header((h) => {
      delete h['model.layers.0.mlp.up_proj.weight'];
    }),
    message:
      'FOLDER: model.safetensors: before tensor "model.layers.0.post_attention_layernorm.weight" lie 6,144 bytes of no tensor',
  },
];

const weightRows: Row[] = [
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
    name: 'integers for weights',
    make: tensors('llama-plain', (all) =>
      all.set('model.norm.weight', { dtype: 'I32', shape: [32], bytes: new Uint8Array(128) }),
    ),
    code: 'unsupported-model',
    message:
      'FOLDER: final norm: weight is stored as I32; weights can be read from F32, F16, BF16, F64, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K',
  },
  {
    name: 'no embedding beside a head of its own',
    make: tensors('llama-untied', (all) => all.delete('model.embed_tokens.weight')),
    message: 'FOLDER: one tensor is missing: "model.embed_tokens.weight"',
  },
];

const folderRows: Row[] = [
  {
    name: 'does not exist',
    make: () => undefined,
    code: 'not-found',
    message: 'FOLDER: there is no such file or folder',
  },
  {
    name: 'is empty',
    make: (folder) => {
      mkdirSync(folder);
      return undefined;
    },
    code: 'not-found',
    message:
      'FOLDER: config.json is missing; a Hugging Face model folder has one (and 2 more problems; inspect lists all)',
  },
  {
    name: 'is a text file',
    make: (folder) => {
      mkdirSync(folder);
      writeFileSync(path.join(folder, 'notes.txt'), 'hello');
      return path.join(folder, 'notes.txt');
    },
    code: 'unsupported-model',
    message: 'FOLDER/notes.txt: a model is a Hugging Face folder or a .gguf file',
  },
  {
    name: 'is a pipe',
    make: (folder) => {
      mkdirSync(folder);
      execFileSync('mkfifo', [path.join(folder, 'model.gguf')]);
      return path.join(folder, 'model.gguf');
    },
    message: 'FOLDER/model.gguf: this is neither a folder nor a regular file',
  },
  {
    name: 'is a link to itself',
    make: (folder) => {
      symlinkSync(folder, folder);
      return undefined;
    },
    message: 'FOLDER: the link leads to itself',
  },
  {
    name: 'holds a GGUF file only',
    make: (folder) => {
      mkdirSync(folder);
      writeFileSync(path.join(folder, 'small.Q4_1.gguf'), '');
      return undefined;
    },
    code: 'not-found',
    message: 'FOLDER: config.json is missing; to use small.Q4_1.gguf, give the path of that file',
  },
  {
    name: 'has no config',
    make: file('config.json', null),
    code: 'not-found',
    message: 'FOLDER: config.json is missing; a Hugging Face model folder has one',
  },
  {
    name: 'has a config cut in half',
    make: file('config.json', '{"model_type": "lla'),
    message: 'FOLDER: config.json is not valid JSON',
  },
  {
    name: 'has a config that names a size twice',
    make: file('config.json', '{"model_type":"llama","hidden_size":32,"hidden_size":64}'),
    message: 'FOLDER: config.json names "hidden_size" twice',
  },
  {
    name: 'has a huge config',
    make: (folder) => {
      truncateSync(path.join(copyTinyModel('llama-plain', folder), 'config.json'), 2 ** 30);
      return undefined;
    },
    message: 'FOLDER: config.json has 1,073,741,824 bytes, more than the limit of 16,777,216',
  },
  {
    name: 'has no weights',
    make: file(weightFile, null),
    code: 'not-found',
    message: 'FOLDER: no weights: neither model.safetensors nor model.safetensors.index.json is there',
  },
  {
    name: 'has pickled weights only',
    make: (folder) => {
      copyTinyModel('llama-plain', folder);
      renameSync(path.join(folder, weightFile), path.join(folder, 'pytorch_model.bin'));
      return undefined;
    },
    code: 'unsupported-model',
    message:
      'FOLDER: pytorch_model.bin holds pickled Python objects, which can run code when they are opened; convert the model to safetensors',
  },
  {
    name: 'has a shard but no index',
    make: (folder) => {
      copyTinyModel('llama-plain', folder);
      renameSync(path.join(folder, weightFile), path.join(folder, 'model-00001-of-00002.safetensors'));
      return undefined;
    },
    code: 'not-found',
    message:
      'FOLDER: model-00001-of-00002.safetensors is there but neither model.safetensors nor model.safetensors.index.json; the download is incomplete',
  },
  {
    name: 'has weights that are a pipe',
    make: (folder) => {
      copyTinyModel('llama-plain', folder);
      rmSync(path.join(folder, weightFile));
      execFileSync('mkfifo', [path.join(folder, weightFile)]);
      return undefined;
    },
    message: 'FOLDER: model.safetensors is not a regular file',
  },
  {
    name: 'has weights that are a link out of it',
    make: (folder) => {
      copyTinyModel('llama-plain', folder);
      renameSync(path.join(folder, weightFile), `${folder}.elsewhere`);
      symlinkSync(`${folder}.elsewhere`, path.join(folder, weightFile));
      return undefined;
    },
    message:
      "FOLDER: model.safetensors is a link out of the model's folder, to FOLDER.elsewhere; copy the file instead",
  },
  {
    name: 'has a tokenizer that is a link out of it',
    make: (folder) => {
      copyTinyModel('llama-plain', folder);
      rmSync(path.join(folder, 'tokenizer.json'));
      symlinkSync('/etc/passwd', path.join(folder, 'tokenizer.json'));
      return undefined;
    },
    message:
      "FOLDER: tokenizer.json is a link out of the model's folder, to /etc/passwd; copy the file instead",
  },
  {
    name: 'has weights that are a dangling link',
    make: (folder) => {
      copyTinyModel('llama-plain', folder);
      rmSync(path.join(folder, weightFile));
      symlinkSync('../../blobs/gone', path.join(folder, weightFile));
      return undefined;
    },
    message:
      'FOLDER: model.safetensors is a link to a file that is not there; download the model again or connect the drive it lies on',
  },
  {
    name: 'has weights that are a link to itself',
    make: (folder) => {
      copyTinyModel('llama-plain', folder);
      rmSync(path.join(folder, weightFile));
      symlinkSync(weightFile, path.join(folder, weightFile));
      return undefined;
    },
    message: 'FOLDER: model.safetensors is a link that leads to itself',
  },
  {
    name: 'has no tokenizer',
    make: file('tokenizer.json', null),
    code: 'not-found',
    message: 'FOLDER: tokenizer.json is missing',
  },
  {
    name: 'has a SentencePiece model only',
    make: (folder) => {
      copyTinyModel('llama-plain', folder);
      renameSync(path.join(folder, 'tokenizer.json'), path.join(folder, 'tokenizer.model'));
      return undefined;
    },
    code: 'unsupported-model',
    message:
      'FOLDER: the tokenizer is there as tokenizer.model only; save it as tokenizer.json (the "fast" format) first',
  },
  {
    name: 'has the tokenizer of a larger model',
    make: (folder) => {
      copyTinyModel('llama-plain', folder);
      editJson(path.join(folder, 'tokenizer.json'), (value) => {
        (value.added_tokens as { id: number }[])[0]!.id = 32_000;
      });
      return undefined;
    },
    message:
      'FOLDER: tokenizer.json has token id 32,000 but config.json says vocab_size 288; the tokenizer belongs to another model',
  },
  {
    name: 'has a generation config with an odd id',
    make: file('generation_config.json', '{"eos_token_id": ["</s>"]}'),
    message:
      'FOLDER: generation_config.json: eos_token_id is ["</s>"]; it must be a token id or a list of token ids',
  },
  {
    name: 'has lost a shard',
    make: shards((folder) => rmSync(path.join(folder, 'model-00002-of-00002.safetensors'))),
    code: 'not-found',
    message:
      'FOLDER: 1 of 2 weight files is missing: model-00002-of-00002.safetensors; complete the download',
  },
  {
    name: 'has an index without a map',
    make: shards((_, index) => Object.assign(index, { weight_map: ['a'] })),
    message: 'FOLDER: model.safetensors.index.json: weight_map is not an object',
  },
  {
    name: 'has an index that leads out of it',
    make: shards((_, index) => {
      index.weight_map[q1] = '../../../etc/model.safetensors';
    }),
    message:
      'FOLDER: model.safetensors.index.json: tensor "model.layers.1.self_attn.q_proj.weight" lies in "../../../etc/model.safetensors", which is no safetensors file name',
  },
  {
    name: 'has an index of a pickle',
    make: shards((_, index) => {
      index.weight_map[q1] = 'pytorch_model.bin';
    }),
    message:
      'FOLDER: model.safetensors.index.json: tensor "model.layers.1.self_attn.q_proj.weight" lies in "pytorch_model.bin", which is no safetensors file name',
  },
  {
    name: 'has an index that names the wrong shard',
    make: shards((_, index) => {
      index.weight_map[q1] = 'model-00001-of-00002.safetensors';
    }),
    message:
      'FOLDER: model.safetensors.index.json says that model-00001-of-00002.safetensors holds "model.layers.1.self_attn.q_proj.weight", but it does not; the files do not belong together',
  },
  {
    name: 'has a tensor in two shards',
    make: shards((folder, index) => {
      execFileSync('cp', [
        path.join(folder, 'model-00001-of-00002.safetensors'),
        path.join(folder, 'model-00003-of-00002.safetensors'),
      ]);
      index.weight_map.more = 'model-00003-of-00002.safetensors';
    }),
    message:
      'FOLDER: tensor "model.embed_tokens.weight" is stored in model-00001-of-00002.safetensors and in model-00003-of-00002.safetensors (and 8 more problems; inspect lists all)',
  },
];

const configRows: Row[] = [
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
      'FOLDER: config.json: model_type "mamba2" is not supported; supported are llama, mistral, qwen2, qwen3, opt',
  },
  {
    name: 'names a family that is no string',
    make: config('llama-plain', { model_type: ['llama'] }),
    code: 'unsupported-model',
    message:
      'FOLDER: config.json: model_type ["llama"] is not supported; supported are llama, mistral, qwen2, qwen3, opt',
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
      'FOLDER: config.json: hidden_act is "xielu", which is not supported; supported are silu, swish, relu, gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, quick_gelu',
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

testBrokenInputs({
  'a safetensors file that': safetensorsRows,
  'weights with': weightRows,
  'a folder that': folderRows,
  'a config that': configRows,
});
