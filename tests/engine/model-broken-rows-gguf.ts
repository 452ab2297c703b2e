import { closeSync, ftruncateSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { gguf, pair, type Row } from './model-broken-table.ts';
import { float32Tensor, handmadeGguf, makeGguf, withPair } from './model-fixtures.ts';

const huge = 2n ** 61n;

/** The bytes of an array value: item type, claimed length, content. */
function arrayBytes(itemType: number, length: bigint, content: Uint8Array = new Uint8Array()): Uint8Array {
  const head = Buffer.alloc(12);
  head.writeUInt32LE(itemType);
  head.writeBigUInt64LE(length, 4);
  return Buffer.concat([head, content]);
}

function u64(value: bigint): Buffer {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64LE(value);
  return buffer;
}

export const ggufHeaderRows: Row[] = [
  {
    name: 'is cut in its first bytes',
    make: gguf(() => {}, {}, 1e9),
    message: 'FOLDER/model.gguf: the file has 0 bytes; a GGUF file has at least 24',
  },
  {
    name: 'has another magic',
    make: gguf(() => {}, { magic: 'GGML' }),
    message: 'FOLDER/model.gguf: the file begins with "GGML", not "GGUF"',
  },
  {
    name: 'is of version 1',
    make: gguf(() => {}, { version: 1 }),
    code: 'unsupported-model',
    message: 'FOLDER/model.gguf: GGUF version 1 is not supported; supported are 2 and 3',
  },
  {
    name: 'is of version 4',
    make: gguf(() => {}, { version: 4 }),
    code: 'unsupported-model',
    message: 'FOLDER/model.gguf: GGUF version 4 is not supported; supported are 2 and 3',
  },
  {
    name: 'is big-endian',
    make: gguf(() => {}, { version: 0x03000000 }),
    code: 'unsupported-model',
    message: 'FOLDER/model.gguf: the file is big-endian; only little-endian GGUF is supported',
  },
  {
    name: 'claims 2^61 tensors',
    make: gguf(() => {}, { tensorCount: huge }),
    message:
      "FOLDER/model.gguf: the header claims 2,305,843,009,213,693,952 tensors, more than the file's 3,200 bytes can hold; it is cut or damaged",
  },
  {
    name: 'claims 2^61 metadata pairs',
    make: gguf(() => {}, { pairCount: huge }),
    message:
      "FOLDER/model.gguf: the header claims 2,305,843,009,213,693,952 metadata pairs, more than the file's 3,200 bytes can hold; it is cut or damaged",
  },
  {
    name: 'claims more metadata pairs than there are',
    make: gguf(() => {}, { pairCount: 40n }),
    message:
      'FOLDER/model.gguf: metadata pair 17 claims a string of 1,125,899,906,842,624 bytes but the file has 2,385 bytes left',
  },
  {
    name: 'claims a tensor more than there are',
    make: gguf(() => {}, { tensorCount: 12n }),
    message: 'FOLDER/model.gguf: tensor "" has 0 dimensions; GGUF allows 1 to 4',
  },
  {
    name: 'has a string of 2^61 bytes',
    make: gguf(pair('general.name', [8, u64(huge)])),
    message:
      'FOLDER/model.gguf: metadata key "general.name" claims a string of 2,305,843,009,213,693,952 bytes but the file has 2,424 bytes left',
  },
  {
    name: 'has a string that is not UTF-8',
    make: gguf(pair('general.name', [8, Buffer.concat([u64(2n), Buffer.from([0xc3, 0x28])])])),
    message: 'FOLDER/model.gguf: metadata key "general.name" holds a string that is not valid UTF-8',
  },
  {
    name: 'has a key that is not UTF-8',
    make: gguf((parts) => {
      parts.pairs.unshift([Buffer.from([0xff, 0xfe]), 'uint32', 1]);
    }),
    message: 'FOLDER/model.gguf: metadata pair 0 holds a string that is not valid UTF-8',
  },
  {
    name: 'has an array of 2^61 bytes',
    make: gguf(pair('general.tags', [9, arrayBytes(0, huge)])),
    message:
      'FOLDER/model.gguf: metadata key "general.tags" claims an array of 2,305,843,009,213,693,952 items but the file has 2,420 bytes left',
  },
  {
    name: 'has an array of 2^61 strings',
    make: gguf(pair('general.tags', [9, arrayBytes(8, huge)])),
    message:
      'FOLDER/model.gguf: metadata key "general.tags" claims an array of 2,305,843,009,213,693,952 items but the file has 2,420 bytes left',
  },
  {
    name: 'has arrays in arrays in arrays',
    make: gguf(pair('general.tags', [9, arrayBytes(9, 1n, arrayBytes(9, 1n, arrayBytes(0, 0n)))])),
    message: 'FOLDER/model.gguf: metadata key "general.tags" nests arrays deeper than 2 levels',
  },
  {
    name: 'has a value of an unknown type',
    make: gguf(pair('general.name', [13, new Uint8Array(8)])),
    message: 'FOLDER/model.gguf: metadata key "general.name" has the unknown value type 13',
  },
  {
    name: 'has an array of an unknown type',
    make: gguf(pair('general.tags', [9, arrayBytes(99, 1n, new Uint8Array(8))])),
    message: 'FOLDER/model.gguf: metadata key "general.tags" has the unknown value type 99',
  },
  {
    name: 'has a boolean of 2',
    make: gguf(pair('tokenizer.ggml.add_bos_token', [7, new Uint8Array([2])])),
    message: 'FOLDER/model.gguf: metadata key "tokenizer.ggml.add_bos_token" is a boolean of value 2',
  },
  {
    name: 'has a key twice',
    make: gguf((parts) => {
      parts.pairs.push(['llama.block_count', 'uint32', 2]);
    }),
    message: 'FOLDER/model.gguf: metadata key "llama.block_count" stands twice',
  },
  {
    name: 'has a header beyond its limit',
    make: (folder) => {
      // Forty strings of 16 MiB that take no disk: all of them are zero bytes.
      mkdirSync(folder);
      const target = path.join(folder, 'model.gguf');
      const { pairs } = handmadeGguf();
      writeFileSync(
        target,
        makeGguf([], [], { pairCount: BigInt(pairs.length + 40), tensorCount: 1n }).subarray(0, 24),
      );
      const descriptor = openSync(target, 'r+');
      let position = 24;
      for (let i = 0; i < 40; i++) {
        const pair = Buffer.alloc(8 + 2 + 4 + 8);
        pair.writeBigUInt64LE(2n);
        pair.write(String(i).padStart(2, '0'), 8);
        pair.writeUInt32LE(8, 10);
        pair.writeBigUInt64LE(2n ** 24n, 14);
        writeSync(descriptor, pair, 0, pair.length, position);
        position += pair.length + 2 ** 24;
      }
      ftruncateSync(descriptor, position);
      closeSync(descriptor);
      return target;
    },
    message: 'FOLDER/model.gguf: metadata key "15" reaches beyond byte 268,435,456, the limit for a header',
  },
  {
    name: 'is aligned to 24 bytes',
    make: gguf(pair('general.alignment', ['uint32', 24]), { alignment: 24 }),
    message: 'FOLDER/model.gguf: general.alignment is 24; it must be a power of two from 8 to 1,048,576',
  },
  {
    name: 'is aligned to 0 bytes',
    make: gguf(pair('general.alignment', ['uint32', 0])),
    message: 'FOLDER/model.gguf: general.alignment is 0; it must be a power of two from 8 to 1,048,576',
  },
  {
    name: 'has an alignment that is a string',
    make: gguf(pair('general.alignment', ['string', '32'])),
    message: 'FOLDER/model.gguf: general.alignment is "32"; it must be a power of two from 8 to 1,048,576',
  },
  {
    name: 'has an alignment that is a fraction',
    make: gguf(pair('general.alignment', ['float32', 0.5])),
    message: 'FOLDER/model.gguf: general.alignment is 0.5; it must be a power of two from 8 to 1,048,576',
  },
  {
    name: 'has an alignment beyond 2^53',
    make: gguf(pair('general.alignment', ['uint64', 2n ** 60n])),
    message:
      'FOLDER/model.gguf: general.alignment is "1152921504606846976"; it must be a power of two from 8 to 1,048,576',
  },
];

export const ggufTensorRows: Row[] = [
  {
    name: 'nine dimensions',
    make: gguf(({ tensors }) => {
      tensors[3]!.dimensionCount = 9;
    }),
    message: 'FOLDER/model.gguf: tensor "blk.0.attn_q.weight" has 9 dimensions; GGUF allows 1 to 4',
  },
  {
    name: 'no dimensions',
    make: gguf(({ tensors }) => {
      tensors[3]!.dimensions = [];
    }),
    message: 'FOLDER/model.gguf: tensor "blk.0.attn_q.weight" has 0 dimensions; GGUF allows 1 to 4',
  },
  {
    name: 'a dimension of 0',
    make: gguf(({ tensors }) => {
      tensors[3]!.dimensions = [8, 0];
    }),
    message: 'FOLDER/model.gguf: tensor "blk.0.attn_q.weight": [0, 8] has 0 elements',
  },
  {
    name: 'dimensions whose product overflows 64 bits',
    make: gguf(({ tensors }) => {
      tensors[3]!.dimensions = [2n ** 40n, 2n ** 40n];
    }),
    message:
      'FOLDER/model.gguf: tensor "blk.0.attn_q.weight": [1099511627776, 1099511627776] has 1,208,925,819,614,629,174,706,176 elements',
  },
  {
    name: 'an offset beyond the end',
    make: gguf(({ tensors }) => {
      tensors[3]!.offset = 2n ** 40n;
    }),
    message:
      'FOLDER/model.gguf: tensor "blk.0.attn_q.weight": bytes 1099511627776 … 1099511628032 reach beyond the file\'s 1,760 data bytes; the file is cut',
  },
  {
    name: 'an offset that overflows 64 bits',
    make: gguf(({ tensors }) => {
      tensors[3]!.offset = 2n ** 64n - 32n;
    }),
    message:
      'FOLDER/model.gguf: tensor "blk.0.attn_q.weight": bytes 18446744073709551584 … 18446744073709551840 reach beyond the file\'s 1,760 data bytes; the file is cut',
  },
  {
    name: 'an offset that is not aligned',
    make: gguf(({ tensors }) => {
      tensors[3]!.offset = 36n;
    }),
    message: 'FOLDER/model.gguf: tensor "blk.0.attn_q.weight": offset 36 is no multiple of the alignment 32',
  },
  {
    name: 'the last tensor cut by a byte',
    make: gguf(() => {}, {}, 1),
    message:
      'FOLDER/model.gguf: tensor "blk.0.ffn_down.weight": bytes 1504 … 1760 reach beyond the file\'s 1,759 data bytes; the file is cut',
  },
  {
    name: 'another tensor in its place',
    make: gguf(({ tensors }) => {
      tensors[4]!.offset = 192n;
    }),
    message:
      'FOLDER/model.gguf: tensors "blk.0.attn_q.weight" and "blk.0.attn_k.weight" overlap at data byte 192',
  },
  {
    name: 'a name twice',
    make: gguf(({ tensors }) => {
      tensors[4]!.name = 'blk.0.attn_q.weight';
    }),
    message: 'FOLDER/model.gguf: tensor "blk.0.attn_q.weight" stands twice',
  },
  {
    name: 'a name of 2 kilobytes',
    make: gguf(({ tensors }) => {
      tensors[4]!.name = 'x'.repeat(2048);
    }),
    message: 'FOLDER/model.gguf: tensor 4 has a string of 2,048 bytes, more than the limit of 1,024',
  },
  {
    name: 'a name that means the same',
    make: gguf(({ tensors }) => {
      tensors.push({ ...tensors[3]!, name: 'blk.00.attn_q.weight' });
    }),
    message:
      'FOLDER/model.gguf: two tensors mean "model.layers.0.self_attn.q_proj.weight", one is "blk.00.attn_q.weight"',
  },
  {
    name: 'a type that is not supported',
    make: gguf(({ tensors }) => {
      tensors[3]!.type = 20;
    }),
    code: 'unsupported-model',
    message:
      'FOLDER/model.gguf: tensor "blk.0.attn_q.weight": type IQ4_NL is not supported; supported are F32, F16, BF16, F64, I8, I16, I32, I64, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, Q1_0, Q2_0, TQ1_0, TQ2_0',
  },
  {
    name: 'a type that is not known',
    make: gguf(({ tensors }) => {
      tensors[3]!.type = 4_000_000_000;
    }),
    code: 'unsupported-model',
    message:
      'FOLDER/model.gguf: tensor "blk.0.attn_q.weight": type 4000000000 is not supported; supported are F32, F16, BF16, F64, I8, I16, I32, I64, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, Q1_0, Q2_0, TQ1_0, TQ2_0',
  },
  {
    name: 'rows that are no whole blocks',
    make: gguf(({ tensors }) => {
      tensors[3]!.type = 8;
    }),
    message:
      'FOLDER/model.gguf: tensor "blk.0.attn_q.weight": rows of 8 elements are no multiple of the 32 in a block of Q8_0',
  },
  {
    name: 'a shape that the metadata contradict',
    make: gguf(({ tensors }) => {
      tensors[8] = { ...tensors[8]!, ...float(['8', '16']) };
    }),
    message:
      'FOLDER/model.gguf: layer 0 gate_proj: weight is [16, 8] but the metadata implies [8, 8] (intermediate_size 8); the weights belong to another model',
  },
  {
    name: 'no output of the attention',
    make: gguf(({ tensors }) => {
      tensors.splice(6, 1);
    }),
    message: 'FOLDER/model.gguf: one tensor is missing: "model.layers.0.self_attn.o_proj.weight"',
  },
  {
    name: 'divisors of rope that are not LLaMA-3’s',
    make: gguf(({ tensors }) => {
      tensors.push({
        name: 'rope_freqs.weight',
        dimensions: [2],
        type: 0,
        bytes: float32Tensor([2], [3, 2]).bytes,
      });
    }),
    code: 'unsupported-model',
    message:
      "FOLDER/model.gguf: rope_freqs.weight holds frequency factors that are not those of LLaMA-3's scaling: [3,2]",
  },
  {
    name: 'divisors of rope that are matrices',
    make: gguf(({ tensors }) => {
      tensors.push({
        name: 'rope_freqs.weight',
        dimensions: [2, 2],
        type: 0,
        bytes: float32Tensor([4], 1).bytes,
      });
    }),
    code: 'unsupported-model',
    message: 'FOLDER/model.gguf: rope_freqs.weight is F32 [2, 2]; a list of F32 was expected',
  },
  {
    name: 'a divisor of rope that is NaN',
    make: gguf(({ tensors }) => {
      tensors.push({
        name: 'rope_freqs.weight',
        dimensions: [2],
        type: 0,
        bytes: float32Tensor([2], Number.NaN).bytes,
      });
    }),
    message: 'FOLDER/model.gguf: tensor "rope_freqs.weight" holds NaN at [0]; the file is damaged',
  },
];

function float(dimensions: string[]): { dimensions: number[]; bytes: Uint8Array } {
  const sizes = dimensions.map(Number);
  return { dimensions: sizes, bytes: float32Tensor(sizes, 1).bytes };
}

export const ggufMetadataRows: Row[] = [
  {
    name: 'no architecture',
    make: gguf(pair('general.architecture', undefined)),
    message: 'FOLDER/model.gguf: general.architecture is missing',
  },
  {
    name: 'an architecture that is a number',
    make: gguf(pair('general.architecture', ['uint32', 1])),
    message: 'FOLDER/model.gguf: general.architecture is not a string',
  },
  {
    name: 'an unknown architecture',
    make: gguf(pair('general.architecture', ['string', 'mamba'])),
    code: 'unsupported-model',
    message:
      'FOLDER/model.gguf: general.architecture "mamba" is not supported; supported are llama, qwen2, qwen3',
  },
  {
    name: 'an adapter',
    make: gguf(pair('general.type', ['string', 'adapter'])),
    code: 'unsupported-model',
    message: 'FOLDER/model.gguf: general.type is "adapter"; only "model" can be used',
  },
  {
    name: 'a part of a split model',
    make: gguf(pair('split.count', ['uint32', 3])),
    code: 'unsupported-model',
    message: 'FOLDER/model.gguf: the file is one of 3 that a model was split into; merge them into one file',
  },
  {
    name: 'experts',
    make: gguf(pair('llama.expert_count', ['uint32', 8])),
    code: 'unsupported-model',
    message: 'FOLDER/model.gguf: the model is a mixture of 8 experts, which is not supported',
  },
  {
    name: 'no hidden size',
    make: gguf(pair('llama.embedding_length', undefined)),
    message: 'FOLDER/model.gguf: the metadata: llama.embedding_length is missing',
  },
  {
    name: 'a hidden size beyond 2^53',
    make: gguf(pair('llama.embedding_length', ['uint64', huge])),
    message:
      'FOLDER/model.gguf: the metadata: llama.embedding_length is "2305843009213693952"; it must be a whole number from 1 to 1,048,576',
  },
  {
    name: 'heads that differ by layer',
    make: gguf(pair('llama.attention.head_count_kv', ['array', { item: 'int32', values: [1, 2] }])),
    message:
      'FOLDER/model.gguf: the metadata: llama.attention.head_count_kv is [1,2]; it must be a whole number from 1 to 4,096',
  },
  {
    name: 'an epsilon that is NaN',
    make: gguf(pair('llama.attention.layer_norm_rms_epsilon', ['float32', Number.NaN])),
    message:
      'FOLDER/model.gguf: the metadata: llama.attention.layer_norm_rms_epsilon is "NaN"; it must be a number above 0',
  },
  {
    name: 'keys and values of different widths',
    make: gguf((parts) => {
      parts.pairs = withPair(
        withPair(parts.pairs, 'llama.attention.key_length', ['uint32', 8]),
        'llama.attention.value_length',
        ['uint32', 4],
      );
    }),
    code: 'unsupported-model',
    message: 'FOLDER/model.gguf: keys have 8 dimensions and values 4; only equal ones are supported',
  },
  {
    name: 'a rope of half a head',
    make: gguf(pair('llama.rope.dimension_count', ['uint32', 2])),
    code: 'unsupported-model',
    message:
      'FOLDER/model.gguf: the metadata: partial_rotary_factor is 0.5; only 1 (all dimensions of a head rotate) is supported',
  },
  {
    name: 'a rope that is scaled by yarn',
    make: gguf(pair('llama.rope.scaling.type', ['string', 'yarn'])),
    code: 'unsupported-model',
    message:
      'FOLDER/model.gguf: the metadata: rope_scaling has type "yarn", which is not supported; supported are default, linear and llama3',
  },
  {
    name: 'a linear rope scaling without a factor',
    make: gguf(pair('llama.rope.scaling.type', ['string', 'linear'])),
    message: 'FOLDER/model.gguf: the metadata: rope_scaling.factor is missing for rope type "linear"',
  },
  {
    name: 'no tokenizer',
    make: gguf(pair('tokenizer.ggml.model', undefined)),
    message:
      'FOLDER/model.gguf: the GGUF has no tokenizer (tokenizer.ggml.model is missing); use a file that contains one',
  },
  {
    name: 'a tokenizer that is not supported',
    make: gguf(pair('tokenizer.ggml.model', ['string', 'rwkv'])),
    code: 'unsupported-model',
    message: 'FOLDER/model.gguf: tokenizer.ggml.model "rwkv" is not supported; supported: gpt2, llama',
  },
  {
    name: 'more tokens than the vocabulary',
    make: gguf(pair('llama.vocab_size', ['uint32', 3])),
    message: "FOLDER/model.gguf: the tokenizer has 4 tokens but the model's vocabulary 3",
  },
];
