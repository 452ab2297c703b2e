import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { inspectModel, openModel } from '../../engine/model/open.ts';
import type { ModelSource } from '../../engine/model/source.ts';
import {
  copyTinyModel,
  editJson,
  editTensors,
  float32Tensor,
  readSafetensors,
  writeSafetensors,
} from './model-fixtures.ts';

let root: string;
let folder: string;
let number = 0;
beforeAll(() => {
  root = mkdtempSync(path.join(tmpdir(), 'dbell-variants-'));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeEach(() => {
  folder = path.join(root, String(number++));
});

const opened: ModelSource[] = [];
async function open(modelPath: string): Promise<ModelSource> {
  const model = await openModel(modelPath);
  opened.push(model);
  return model;
}
afterAll(() => {
  for (const model of opened) model.close();
});

function withConfig(base: string, changes: Record<string, unknown>): string {
  editJson(path.join(copyTinyModel(base, folder), 'config.json'), (config) => {
    for (const [key, value] of Object.entries(changes))
      if (value === undefined) delete config[key];
      else config[key] = value;
  });
  return folder;
}

const warningsOf = (model: ModelSource) => model.warnings.map((warning) => warning.message);
const q1 = 'model.layers.1.self_attn.q_proj.weight';

describe('rope settings mean the same in every spelling', () => {
  const llama3 = {
    factor: 8,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 32,
  };
  const scaled = {
    theta: 500_000,
    scaling: {
      kind: 'llama3',
      factor: 8,
      lowFrequencyFactor: 1,
      highFrequencyFactor: 4,
      originalContextLength: 32,
    },
  };
  const plain = { theta: 500_000, scaling: { kind: 'none' } };
  test.each([
    ['rope_scaling.type', { rope_theta: 5e5, rope_scaling: { type: 'llama3', ...llama3 } }, scaled],
    ['rope_scaling.rope_type', { rope_theta: 5e5, rope_scaling: { rope_type: 'llama3', ...llama3 } }, scaled],
    [
      'both names',
      { rope_theta: 5e5, rope_scaling: { type: 'llama3', rope_type: 'llama3', ...llama3 } },
      scaled,
    ],
    [
      'rope_parameters with the base',
      {
        rope_theta: undefined,
        rope_scaling: undefined,
        rope_parameters: { rope_type: 'llama3', rope_theta: 5e5, ...llama3 },
      },
      scaled,
    ],
    [
      'rope_parameters and rope_scaling that agree',
      {
        rope_theta: 5e5,
        rope_scaling: { type: 'llama3', ...llama3 },
        rope_parameters: { rope_type: 'llama3', rope_theta: 5e5, ...llama3 },
      },
      scaled,
    ],
    ['type default', { rope_theta: 5e5, rope_scaling: { type: 'default' } }, plain],
    ['rope_scaling null', { rope_theta: 5e5, rope_scaling: null }, plain],
    ['nothing but the base', { rope_theta: 5e5, rope_scaling: undefined }, plain],
    [
      'rope_parameters of the base alone',
      { rope_theta: undefined, rope_parameters: { rope_theta: 5e5 } },
      plain,
    ],
    ['all of a head rotating', { rope_theta: 5e5, partial_rotary_factor: 1.0 }, plain],
  ])('%s', async (_, changes, expected) => {
    const model = await open(withConfig('llama-plain', changes));
    expect(model.architecture.position).toMatchObject(expected);
    expect(model.warnings).toEqual([]);
  });

  test('a LLaMA config from before rope_theta gets the old base, and says so', async () => {
    const model = await open(withConfig('llama-plain', { rope_theta: undefined }));
    expect(model.architecture.position).toMatchObject({ theta: 10_000 });
    expect(warningsOf(model)).toEqual([
      'config.json: rope_theta is missing; 10000 is used, as models from before this field do',
    ]);
  });
});

describe('the head is decided by what is stored', () => {
  const table = 'model.embed_tokens.weight';
  const tied = { weight: table, tied: true, bias: null };
  const separate = { weight: 'lm_head.weight', tied: false, bias: null };
  const tieWarning = (first: string) =>
    `${first} head and embedding, but lm_head.weight is stored with other values; it is used`;
  test.each([
    [true, 'absent', tied, []],
    [true, 'different', separate, [tieWarning('tie_word_embeddings is true: it ties')]],
    [true, 'equal', tied, []],
    [
      false,
      'absent',
      tied,
      ['tie_word_embeddings is false but lm_head.weight is not stored; the embedding is used as the head'],
    ],
    [false, 'different', separate, []],
    [false, 'equal', separate, []],
    [undefined, 'absent', tied, []],
    [undefined, 'different', separate, []],
  ])('tie_word_embeddings %s, lm_head %s', async (flag, stored, head, warnings) => {
    withConfig('llama-untied', { tie_word_embeddings: flag });
    editTensors(folder, (tensors) => {
      if (stored === 'absent') tensors.delete('lm_head.weight');
      if (stored === 'equal') tensors.set('lm_head.weight', tensors.get(table)!);
    });
    const model = await open(folder);
    expect(model.architecture.head).toEqual(head);
    expect(model.config.tie_word_embeddings).toBe(head.tied);
    expect(warningsOf(model)).toEqual(warnings);
    expect(model.tensors.has('lm_head.weight')).toBe(!head.tied);
    expect(model.parameterCount).toBe(head.tied ? 24_736 : 33_952);
  });

  test('a family that ties by default warns about a head of its own', async () => {
    withConfig('opt-relu', { tie_word_embeddings: undefined });
    editTensors(folder, (tensors) => tensors.set('lm_head.weight', float32Tensor([288, 32], 0.25)));
    const model = await open(folder);
    expect(model.architecture.head).toEqual(separate);
    expect(warningsOf(model)).toEqual([tieWarning('the family ties')]);
  });

  test('a shared table stored as the head alone serves as the embedding', async () => {
    copyTinyModel('llama-plain', folder);
    editTensors(folder, (tensors) => {
      tensors.set('lm_head.weight', tensors.get(table)!);
      tensors.delete(table);
    });
    const model = await open(folder);
    expect(model.architecture.head).toEqual(tied);
    expect(model.tensors.get(table)?.name).toBe(table);
    expect(model.readRowsFloat32(table, 0, 2)).toHaveLength(64);
  });
});

describe('weights in other forms give the same values', () => {
  test('shards', async () => {
    const whole = await open(copyTinyModel('qwen3', folder));
    const sharded = `${folder}-sharded`;
    copyTinyModel('qwen3', sharded);
    const all = [...readSafetensors(path.join(sharded, 'model.safetensors'))];
    const weightMap: Record<string, string> = {};
    for (let shard = 0; shard < 3; shard++) {
      const part = all.filter((_, index) => index % 3 === shard);
      writeSafetensors(path.join(sharded, `part-${shard}.safetensors`), new Map(part));
      for (const [name] of part) weightMap[name] = `part-${shard}.safetensors`;
    }
    rmSync(path.join(sharded, 'model.safetensors'));
    // An index may be large; 30 MB of it are blanks here.
    const text = JSON.stringify({ metadata: { total_size: 1 }, weight_map: weightMap });
    writeFileSync(path.join(sharded, 'model.safetensors.index.json'), text + ' '.repeat(30e6));
    const model = await open(sharded);
    expect(model.architecture).toEqual(whole.architecture);
    for (const name of whole.tensors.keys()) expect(model.readFloat32(name)).toEqual(whole.readFloat32(name));
  });

  test('names without the prefix of the model', async () => {
    for (const name of ['llama-plain', 'opt-relu']) {
      const whole = await open(copyTinyModel(name, `${folder}-${name}`));
      const bare = copyTinyModel(name, `${folder}-${name}-bare`);
      editTensors(bare, (tensors) => {
        for (const [key, tensor] of [...tensors]) {
          tensors.delete(key);
          tensors.set(key.replace(/^model\./, ''), tensor);
        }
      });
      const model = await open(bare);
      expect(warningsOf(model)).toEqual([]);
      for (const key of whole.tensors.keys()) expect(model.readFloat32(key)).toEqual(whole.readFloat32(key));
    }
  });

  test('half, bfloat and double precision', async () => {
    copyTinyModel('llama-plain', folder);
    const values = Float32Array.from({ length: 1024 }, (_, i) => ((i % 61) - 30) / 64);
    const encode = (bytesEach: number, write: (buffer: Buffer, value: number, at: number) => void) => {
      const buffer = Buffer.alloc(1024 * bytesEach);
      values.forEach((value, i) => {
        write(buffer, value, i * bytesEach);
      });
      return new Uint8Array(buffer);
    };
    const bits = new DataView(new ArrayBuffer(4));
    // All values have 6 significant bits, so the upper half of a float32 holds them, and a half does after moving the exponent.
    const upperHalf = (value: number) => {
      bits.setFloat32(0, value);
      return bits.getUint16(0);
    };
    const halfBits = (value: number) => {
      if (value === 0) return 0;
      bits.setFloat32(0, value);
      const word = bits.getUint32(0);
      return ((word >>> 16) & 0x8000) | ((((word >>> 23) & 255) - 112) << 10) | ((word >>> 13) & 0x3ff);
    };
    const forms = {
      F16: encode(2, (buffer, value, at) => buffer.writeUInt16LE(halfBits(value), at)),
      BF16: encode(2, (buffer, value, at) => buffer.writeUInt16LE(upperHalf(value), at)),
      F64: encode(8, (buffer, value, at) => buffer.writeDoubleLE(value, at)),
    };
    for (const [dtype, bytes] of Object.entries(forms)) {
      editTensors(folder, (tensors) => tensors.set(q1, { dtype, shape: [32, 32], bytes }));
      const model = await open(folder);
      expect(model.tensors.get(q1)?.storedType).toBe(dtype);
      expect(model.readFloat32(q1)).toEqual(values);
      const rows = new Float32Array(64).fill(9);
      expect(model.readRowsFloat32(q1, 3, 2, rows)).toBe(rows);
      expect(rows).toEqual(values.slice(96, 160));
    }
  });

  test('a header padded with blanks or zero bytes, and odd metadata', async () => {
    const file = path.join(copyTinyModel('llama-plain', folder), 'model.safetensors');
    const tensors = readSafetensors(file);
    for (const padding of [' '.repeat(200_000), '\0'.repeat(7)]) {
      writeSafetensors(
        file,
        tensors,
        () => {},
        (text) => text + padding,
      );
      expect((await open(folder)).warnings).toEqual([]);
    }
    writeSafetensors(file, tensors, (header) => {
      header.__metadata__ = { format: 'pt', step: 7 };
    });
    expect(warningsOf(await open(folder))).toEqual([
      'model.safetensors: __metadata__ "step" is not a string and is ignored',
    ]);
  });

  test('a tensor larger than a piece that is read at a time', async () => {
    copyTinyModel('llama-plain', folder);
    editJson(path.join(folder, 'config.json'), (config) => {
      config.vocab_size = 70_001;
    });
    // float32 whose lower halves are zero, and the same as bfloat16: 4.5 MB.
    const values = Float32Array.from({ length: 70_001 * 32 }, (_, i) => (i % 251) / 64);
    const halves = new Uint16Array(values.length);
    const bits = new Uint32Array(values.buffer);
    bits.forEach((word, i) => {
      halves[i] = word >>> 16;
    });
    const table = 'model.embed_tokens.weight';
    for (const tensor of [
      float32Tensor([70_001, 32], values),
      { dtype: 'BF16', shape: [70_001, 32], bytes: new Uint8Array(halves.buffer) },
    ]) {
      editTensors(folder, (tensors) => tensors.set(table, tensor));
      // Compared as bytes: a deep comparison of two million numbers takes seconds.
      const read = (await open(folder)).readFloat32(table);
      expect(Buffer.compare(Buffer.from(read.buffer), Buffer.from(values.buffer))).toBe(0);
    }
  });

  test.each([2.1, 4.3, 5])('tensors at the end of a sparse file of %d GiB', async (gibibytes) => {
    const source = copyTinyModel('llama-plain', folder);
    const whole = await open(copyTinyModel('llama-plain', `${folder}-whole`));
    const file = path.join(source, 'model.safetensors');
    const tensors = readSafetensors(file);
    const filler = Math.round(gibibytes * 2 ** 30);
    // The last tensor before the filler's end lies across the 4 GiB mark where the file is that long.
    const header: Record<string, unknown> = {
      filler: { dtype: 'U8', shape: [filler], data_offsets: [0, filler] },
    };
    let position = filler;
    for (const [name, { dtype, shape, bytes }] of tensors) {
      header[name] = { dtype, shape, data_offsets: [position, position + bytes.length] };
      position += bytes.length;
    }
    const text = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    const descriptor = openSync(file, 'w');
    writeSync(descriptor, Buffer.concat([length, text]));
    ftruncateSync(descriptor, 8 + text.length + position);
    let at = 8 + text.length + filler;
    for (const { bytes } of tensors.values()) {
      writeSync(descriptor, bytes, 0, bytes.length, at);
      at += bytes.length;
    }
    closeSync(descriptor);
    const model = await open(source);
    expect(model.fileBytes).toBe(8 + text.length + position);
    expect(warningsOf(model)).toEqual(['one tensor is not used: "filler"']);
    for (const name of whole.tensors.keys()) expect(model.readFloat32(name)).toEqual(whole.readFloat32(name));
    rmSync(file);
  });

  test('a tensor across the 4 GiB mark', async () => {
    const source = copyTinyModel('llama-plain', folder);
    const file = path.join(source, 'model.safetensors');
    const tensors = readSafetensors(file);
    const values = tensors.get(q1)!;
    tensors.delete(q1);
    const rest = [...tensors];
    const before = rest.reduce((sum, [, { bytes }]) => sum + bytes.length, 0);
    const headerOf = (filler: number) => {
      const header: Record<string, unknown> = {};
      let position = 0;
      const add = (name: string, dtype: string, shape: number[], bytes: number) => {
        header[name] = { dtype, shape, data_offsets: [position, position + bytes] };
        position += bytes;
      };
      for (const [name, { dtype, shape, bytes }] of rest) add(name, dtype, shape, bytes.length);
      add('filler', 'U8', [filler], filler);
      add(q1, 'F32', [32, 32], 4096);
      return Buffer.from(JSON.stringify(header).padEnd(4088));
    };
    const filler = 2 ** 32 - 4096 - before - 2048;
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(4088n);
    const descriptor = openSync(file, 'w');
    writeSync(descriptor, Buffer.concat([length, headerOf(filler), ...rest.map(([, { bytes }]) => bytes)]));
    ftruncateSync(descriptor, 2 ** 32 + 2048);
    writeSync(descriptor, values.bytes, 0, 4096, 2 ** 32 - 2048);
    closeSync(descriptor);
    const model = await open(source);
    expect(Buffer.from(model.readFloat32(q1).buffer).equals(Buffer.from(values.bytes))).toBe(true);
    rmSync(file);
  });
});

describe('ends of text', () => {
  test.each([
    ['config number', { config: 5, generation: undefined }, [5, 287]],
    ['config list', { config: [5, 6], generation: undefined }, [5, 6, 287]],
    ['generation list', { config: 5, generation: [5, 106] }, [5, 106, 287]],
    ['generation number', { config: undefined, generation: 7 }, [7, 287]],
    ['tokenizer alone', { config: null, generation: null }, [287]],
  ])('%s', async (_, { config, generation }, expected) => {
    withConfig('llama-plain', { eos_token_id: config });
    editJson(path.join(folder, 'generation_config.json'), (value) => {
      value.eos_token_id = generation;
    });
    expect((await open(folder)).architecture.endOfTextIds).toEqual(expected);
  });

  test('an id outside the vocabulary is left out with a warning', async () => {
    const model = await open(withConfig('llama-plain', { eos_token_id: [287, 4000] }));
    expect(model.architecture.endOfTextIds).toEqual([287]);
    expect(warningsOf(model)).toEqual([
      'config.json: eos_token_id 4000 lies outside the vocabulary of 288; ignored',
    ]);
  });
});

describe('options of configs', () => {
  test('head_dim null means hidden size by heads', async () => {
    expect((await open(withConfig('llama-plain', { head_dim: null }))).architecture.headDimension).toBe(8);
  });

  test('pretraining_tp and code of the model’s own are ignored visibly', async () => {
    withConfig('llama-plain', { pretraining_tp: 2, auto_map: { AutoModel: 'modeling_x.X' } });
    writeFileSync(path.join(folder, 'modeling_x.py'), 'raise SystemExit');
    expect(warningsOf(await open(folder))).toEqual([
      'config.json: pretraining_tp 2 is ignored: it splits the same computation differently',
      'the folder brings code of its own, which is never run',
    ]);
  });

  test('Qwen’s sliding window', async () => {
    const window = { use_sliding_window: true, sliding_window: 16 };
    const base = await open(withConfig('qwen2', { use_sliding_window: false, sliding_window: 16 }));
    expect(base.architecture).toMatchObject({ slidingWindow: null, contextLength: 256 });
    const all = await open(withConfig('qwen2', { ...window, max_window_layers: 0 }));
    expect(all.architecture).toMatchObject({ slidingWindow: 16, contextLength: 256 });
    const none = await open(withConfig('qwen2', { ...window, max_window_layers: 2 }));
    expect(none.architecture).toMatchObject({ slidingWindow: null, contextLength: 256 });
    const some = await open(
      withConfig('qwen2', { ...window, layer_types: ['full_attention', 'sliding_attention'] }),
    );
    expect(some.architecture).toMatchObject({ slidingWindow: null, contextLength: 16 });
    expect(warningsOf(some)).toEqual([
      'config.json: 1 of 2 layers attend to the last 16 tokens only; the context length is cut from 256 to 16',
    ]);
  });

  test('a Mistral window of 4096 where the config says nothing', async () => {
    const long = { max_position_embeddings: 8192 };
    const silent = await open(withConfig('mistral', { ...long, sliding_window: undefined }));
    expect(silent.architecture.slidingWindow).toBe(4096);
    const none = await open(withConfig('mistral', { ...long, sliding_window: null }));
    expect(none.architecture.slidingWindow).toBeNull();
  });

  test('the licence of the model card', async () => {
    copyTinyModel('llama-plain', folder);
    writeFileSync(
      path.join(folder, 'README.md'),
      '---\nlanguage: en\nlicense: "apache-2.0"\n---\n# A model\n',
    );
    expect((await open(folder)).license).toBe('apache-2.0');
  });
});

describe('a Hub cache', () => {
  /** models--a--b with blobs, and a snapshot of relative links. */
  function makeCache(): string {
    const snapshot = path.join(folder, 'models--a--b', 'snapshots', 'abc');
    const blobs = path.join(folder, 'models--a--b', 'blobs');
    mkdirSync(snapshot, { recursive: true });
    mkdirSync(blobs);
    copyTinyModel('llama-plain', path.join(folder, 'plain'));
    for (const name of [
      'config.json',
      'generation_config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ]) {
      renameSync(path.join(folder, 'plain', name), path.join(blobs, `hash-${name.length}`));
      symlinkSync(`../../blobs/hash-${name.length}`, path.join(snapshot, name));
    }
    return snapshot;
  }

  test('links into the blobs beside it are followed, also when the snapshot is reached by a link', async () => {
    const snapshot = makeCache();
    const direct = await open(snapshot);
    expect(direct.parameterCount).toBe(24_736);
    symlinkSync(snapshot, path.join(folder, 'favourite'));
    const linked = await open(path.join(folder, 'favourite'));
    expect(linked.path).toBe(direct.path);
    expect(await linked.fingerprint()).toBe(await direct.fingerprint());
  });

  test('a file of which only the link is left is named; the others are still described', async () => {
    const snapshot = makeCache();
    rmSync(path.join(folder, 'models--a--b', 'blobs', `hash-${'model.safetensors'.length}`));
    const { problems } = await inspectModel(snapshot);
    expect(problems.map((problem) => problem.message)).toEqual([
      'model.safetensors is a link to a file that is not there; download the model again or connect the drive it lies on',
    ]);
  });
});

test('an inspection shows everything that is wrong at once', async () => {
  withConfig('llama-plain', { hidden_size: '32', num_key_value_heads: 3, rope_scaling: { type: 'yarn' } });
  rmSync(path.join(folder, 'tokenizer.json'));
  writeFileSync(path.join(folder, 'model.safetensors'), readFileSync(path.join(folder, 'config.json')));
  const inspection = await inspectModel(folder);
  expect(inspection.architecture).toBeNull();
  expect(inspection.problems.map(({ severity, code }) => `${severity} ${code}`)).toEqual([
    'error config-range',
    'error config-contradiction',
    'error unsupported-rope',
    'error file-cut',
    'error not-found',
  ]);
});

test('an inspection tries the tokenizer', async () => {
  copyTinyModel('llama-plain', folder);
  editJson(path.join(folder, 'tokenizer.json'), (value) => {
    value.normalizer = { type: 'Unheard' };
  });
  const { problems } = await inspectModel(folder);
  expect(problems).toHaveLength(1);
  expect(problems[0]).toMatchObject({ severity: 'error', code: 'unsupported-tokenizer' });
});

test('reading what is not there is refused with numbers', async () => {
  const model = await open(copyTinyModel('llama-plain', folder));
  expect(() => model.readFloat32('nothing')).toThrow('the model has no tensor "nothing"');
  expect(() => model.readFloat32(q1, new Float32Array(7))).toThrow(
    `${q1} has 1,024 elements but the array to read into has 7`,
  );
  expect(() => model.readRowsFloat32(q1, 30, 3)).toThrow(`${q1}: rows 30 … 33 of 32 were asked for`);
  expect(() => model.readRowsFloat32('model.norm.weight', 0, 1)).toThrow(
    'model.norm.weight has 1 dimensions; rows can be read of 2',
  );
});
