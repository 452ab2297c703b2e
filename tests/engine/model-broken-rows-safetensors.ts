import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { bytes, file, header, lengthField, type Row, weightFile } from './model-broken-table.ts';

const q1 = 'model.layers.1.self_attn.q_proj.weight';

export const safetensorsRows: Row[] = [
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
    name: 'has a header of 17 million values',
    make: header(
      () => {},
      () => `{"a":[${'0,'.repeat(2 ** 24)}0]}`,
    ),
    message: 'FOLDER: model.safetensors: the header holds more than 16,777,216 values',
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
