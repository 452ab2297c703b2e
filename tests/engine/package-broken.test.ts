import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DBellError } from '../../engine/contract/errors.ts';
import { openModel } from '../../engine/model/open.ts';
import { openPackage } from '../../engine/package/open.ts';
import { createPackageSink } from '../../engine/package/sink.ts';
import { config, editJson, entry, header, type Json, tensor } from './package-damage.ts';
import { finishOptions, packTinyModel, roundedBlocks, tinyModels } from './package-support.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-broken-package-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// llama-odd-widths: hidden 40, so k_proj is [40, 40]: 3 groups of 16 rows and 2 lines of 32 columns, with padding in both.
const k = 'model.layers.1.self_attn.k_proj';
const down = 'model.layers.0.mlp.down_proj';

interface Row {
  name: string;
  make: (copy: string) => void;
  /** The whole message behind `FOLDER: `. */
  message: string;
  base?: 'five-levels' | 'structured' | 'eight-bits' | 'six-bits' | 'four-bits';
}

const layerOf = (quality: Json, name: string): Json =>
  (quality.layers as Json[]).find((layer) => layer.name === name)!;

const rows: Row[] = [
  {
    name: 'no config.json',
    make: (copy) => rmSync(path.join(copy, 'config.json')),
    message: 'config.json is missing; this is not a packed model',
  },
  {
    name: 'config.json that is no JSON',
    make: (copy) => writeFileSync(path.join(copy, 'config.json'), '{"a"'),
    message: 'config.json is not valid JSON',
  },
  {
    name: 'a full-precision model',
    make: config((_, whole) => delete whole.quantization_config),
    message: 'config.json has no quantization_config; this is not a packed model',
  },
  {
    name: 'another quantizer',
    make: config((quantization) => (quantization.quant_method = 'gptq')),
    message:
      'config.json: quant_method is "gptq"; only packages of DBell Studio ("dbell") can be opened here',
  },
  {
    name: 'a newer version with fields that are not known',
    make: config((quantization) => Object.assign(quantization, { format_version: 2, new: 1 })),
    message: 'the package is in format version 2, this program reads up to version 1; update DBell Studio',
  },
  {
    name: 'an absurd version',
    make: config((quantization) => (quantization.format_version = 'one')),
    message: 'config.json: quantization_config: format_version: expected 1, got "one"',
  },
  {
    name: 'an unknown field',
    make: config((quantization) => (quantization.zeros = true)),
    message: 'config.json: quantization_config: has fields that are not known here: zeros',
  },
  {
    name: 'a missing field',
    make: config((quantization) => delete quantization.embedding_bits),
    message: 'config.json: quantization_config: embedding_bits: is missing',
  },
  {
    name: 'an unknown family',
    make: config((_, whole) => (whole.model_type = 'rwkv')),
    message:
      'config.json: model_type "rwkv" is not supported; supported are llama, mistral, qwen2, qwen3, bitnet, opt',
  },
  {
    name: 'a head that is tied and not tied',
    make: config((quantization) => (quantization.tied_head = !quantization.tied_head)),
    message: 'config.json: tie_word_embeddings is true but quantization_config.tied_head is false',
  },
  {
    name: 'a linear without an entry',
    make: config((quantization) => delete (quantization.tensors as Json)[k]),
    message: `quality.json has 14 layers, config.json 13`,
  },
  {
    name: 'a norm without an entry',
    make: config((quantization) => delete (quantization.tensors as Json)['model.norm.weight']),
    message: 'config.json: quantization_config.tensors lacks "model.norm.weight"',
  },
  {
    name: 'an entry too many',
    make: config(
      (quantization) =>
        ((quantization.tensors as Json)['model.extra'] = { layout: 'float', shape: [4], dtype: 'F32' }),
    ),
    message:
      'config.json: quantization_config.tensors has "model.extra", which a llama model of this size has no place for',
  },
  {
    name: 'a shape that contradicts the sizes',
    make: config((_, whole) => (whole.num_key_value_heads = 2)),
    message:
      'config.json: quantization_config.tensors "model.layers.0.self_attn.k_proj": shape is [40, 40] but config.json implies [20, 40] (and 3 more problems; verify lists all)',
  },
  {
    name: 'a layout of another kind',
    make: config(
      (quantization) =>
        ((quantization.tensors as Json)['model.norm.weight'] = { layout: 'table', shape: [40, 1], bits: 16 }),
    ),
    message:
      'config.json: quantization_config.tensors "model.norm.weight": layout is "table", expected float',
  },
  {
    name: 'an unknown layout',
    make: entry(k, { layout: 'trellis' }),
    message: `config.json: quantization_config: tensors.${k}.layout: expected one of grid, structured, table, grid-table, float, got "trellis"`,
  },
  {
    name: 'too many levels',
    make: entry(k, { levels: 257 }),
    message: `config.json: quantization_config: tensors.${k}.levels: must be at most 256, got 257`,
  },
  {
    name: 'planes that do not fit the levels',
    make: entry(k, { levels: 5 }),
    message: `config.json: quantization_config.tensors "${k}": 5 levels take 3 planes, not 4`,
  },
  {
    name: 'a bias that the model does not have',
    make: entry(k, { bias: true }),
    message: `quality.json: layer "${k}" says 1,792 stored bytes but the file holds 1,984`,
  },
  {
    name: 'tables of other bits',
    make: config((quantization) => (quantization.embedding_bits = 8)),
    message:
      'config.json: quantization_config.tensors "model.embed_tokens.weight": bits is 16 but embedding_bits is 8',
  },
  {
    name: 'a file name that leads out of the folder',
    make: config(
      (quantization) => ((quantization.files as Json)['../x'] = { bytes: 1, sha256: '0'.repeat(64) }),
    ),
    message: 'config.json: quantization_config.files has "../x", which is no file name',
  },
  {
    name: 'weights missing',
    make: (copy) => rmSync(path.join(copy, 'model.safetensors')),
    message: 'model.safetensors is missing; copy the package again',
  },
  {
    name: 'weights cut by one byte',
    make: (copy) =>
      truncateSync(
        path.join(copy, 'model.safetensors'),
        readFileSync(path.join(copy, 'model.safetensors')).length - 1,
      ),
    message:
      'model.safetensors has SIZE-1 bytes but config.json says SIZE; it was cut or changed, copy the package again',
  },
  {
    name: 'weights that are a link out of the folder',
    make: (copy) => {
      rmSync(path.join(copy, 'model.safetensors'));
      symlinkSync('/etc/hostname', path.join(copy, 'model.safetensors'));
    },
    message: `model.safetensors is a link out of the model's folder, to /etc/hostname; copy the file instead`,
  },
  {
    name: 'a header length beyond the file',
    make: (copy) => {
      const file = path.join(copy, 'model.safetensors');
      const bytes = readFileSync(file);
      bytes.writeBigUInt64LE(2n ** 62n, 0);
      writeFileSync(file, bytes);
    },
    message:
      'model.safetensors: the header claims 4,611,686,018,427,387,904 bytes but the file has SIZE; it is cut or not a safetensors file',
  },
  {
    name: 'tensors that overlap',
    make: header(
      (value) =>
        (value['model.norm.weight']!.data_offsets =
          value['model.layers.1.input_layernorm.weight']!.data_offsets),
    ),
    message:
      'model.safetensors: tensors "model.layers.1.input_layernorm.weight" and "model.norm.weight" overlap at data byte OFFSET (and 1 more problem; verify lists all)',
  },
  {
    name: 'a tensor under another name',
    make: header((value) => {
      value['x.planes'] = value[`${k}.dbell.planes`]!;
      delete value[`${k}.dbell.planes`];
    }),
    message: `model.safetensors: tensor "${k}.dbell.planes" is missing`,
  },
  {
    name: 'a tensor of another type',
    make: header((value) => (value[`${k}.dbell.planes`]!.dtype = 'I8')),
    message: `model.safetensors: tensor "${k}.dbell.planes" is I8 [3, 2, 4, 64], expected U8 [3, 2, 4, 64]`,
  },
  {
    name: 'a tensor of another shape',
    make: header((value) => (value[`${k}.dbell.planes`]!.shape = [3, 4, 2, 64])),
    message: `model.safetensors: tensor "${k}.dbell.planes" is U8 [3, 4, 2, 64], expected U8 [3, 2, 4, 64]`,
  },
  {
    name: 'data that begin off a line',
    make: header(() => {}, 8),
    message:
      'model.safetensors: the data begin at byte DATA, which is no multiple of 64 (and 48 more problems; verify lists all)',
  },
  {
    name: 'a scale that is infinite',
    make: tensor(`${k}.dbell.scales`, (bytes) => bytes.writeUInt16LE(0x7c00, 2 * 19)),
    message: `model.safetensors: tensor "${k}.dbell.scales": the value of row 19, block 0 is not finite`,
  },
  {
    name: 'an offset that is no number',
    make: tensor(`${k}.dbell.offsets`, (bytes) => bytes.writeUInt16LE(0xfe00, 0)),
    message: `model.safetensors: tensor "${k}.dbell.offsets": the value of row 0, block 0 is not finite`,
  },
  {
    name: 'a scale of a row that is not there',
    make: tensor(`${k}.dbell.scales`, (bytes) => bytes.writeUInt16LE(1, 2 * (2 * 16 + 9))),
    message: `model.safetensors: tensor "${k}.dbell.scales": the padding row 41 of 40 rows is not zero`,
  },
  {
    name: 'a bit in a padding row',
    make: tensor(`${k}.dbell.planes`, (bytes) => {
      bytes[2 * 512 + 4 * 8] = 1;
    }),
    message: `model.safetensors: tensor "${k}.dbell.planes": the padding at row 40, column 0 of [40, 40] is not zero`,
  },
  {
    name: 'a bit in a padding column',
    make: tensor(`${k}.dbell.planes`, (bytes) => {
      bytes[256] = bytes[256]! | 0x80;
    }),
    message: `model.safetensors: tensor "${k}.dbell.planes": the padding at row 0, column 60 of [40, 40] is not zero`,
  },
  {
    name: 'a norm that is no number',
    make: tensor('model.norm.weight', (bytes) => bytes.writeFloatLE(Number.NaN, 4)),
    message: 'model.safetensors: tensor "model.norm.weight": value 1 is not finite',
  },
  {
    name: 'bytes behind a norm',
    make: tensor('model.norm.weight', (bytes) => {
      bytes[bytes.length - 1] = 7;
    }),
    message: 'model.safetensors: tensor "model.norm.weight": the padding behind the values is not zero',
  },
  {
    name: 'an embedding that is infinite',
    make: tensor('model.embed_tokens.weight', (bytes) => bytes.writeUInt16LE(0xfc00, 2 * 77)),
    message: 'model.safetensors: tensor "model.embed_tokens.weight": value 77 is not finite',
  },
  {
    name: 'a code that its levels do not have',
    base: 'five-levels',
    make: tensor(`${down}.dbell.planes`, (bytes) => {
      for (const plane of [0, 64, 128]) bytes[plane] = bytes[plane]! | 2;
    }),
    message: `model.safetensors: tensor "${down}.dbell.planes": code 7 at row 0, column 4 is not below 5`,
  },
  {
    name: 'a salient column that is not there',
    base: 'structured',
    make: tensor(`${down}.dbell.salient_mask`, (bytes) => {
      bytes[5] = 0x08;
    }),
    message: `model.safetensors: tensor "${down}.dbell.salient_mask": the padding column 43 of 43 columns is marked salient`,
  },
  {
    name: 'a level that is infinite',
    base: 'structured',
    make: tensor(`${down}.dbell.levels`, (bytes) => bytes.writeUInt16LE(0x7c00, 2 * (6 * 16 + 3))),
    message: `model.safetensors: tensor "${down}.dbell.levels": the value of row 3, block 0 is not finite`,
  },
  {
    name: 'a table code of -128',
    base: 'eight-bits',
    make: tensor('model.embed_tokens.weight.dbell.codes', (bytes) => {
      bytes[64 * 2 + 1] = 0x80;
    }),
    message:
      'model.safetensors: tensor "model.embed_tokens.weight.dbell.codes": code -128 at row 2, column 1 is out of range (-127 to 127)',
  },
  {
    name: 'a table code in a padding column',
    base: 'eight-bits',
    make: tensor('model.embed_tokens.weight.dbell.codes', (bytes) => {
      bytes[40] = 1;
    }),
    message:
      'model.safetensors: tensor "model.embed_tokens.weight.dbell.codes": the padding column 40 of row 0 is not zero',
  },
  {
    name: 'a field in a padding column of a table of 6 bits',
    base: 'six-bits',
    make: tensor('model.embed_tokens.weight.dbell.codes', (bytes) => {
      // Row 1, group 1, line 5: the upper bits of columns 48 … 63.
      bytes[(6 + 5) * 64 + 4] = 0x10;
    }),
    message:
      'model.safetensors: tensor "model.embed_tokens.weight.dbell.codes": the padding at row 1, column 56 of [288, 40] is not zero',
  },
  {
    name: 'a table scale of 4 bits that is infinite',
    base: 'four-bits',
    make: tensor('model.embed_tokens.weight.dbell.scales', (bytes) =>
      bytes.writeUInt16LE(0xfc00, 2 * (16 + 3)),
    ),
    message:
      'model.safetensors: tensor "model.embed_tokens.weight.dbell.scales": the value of row 3, group 1 is not finite',
  },
  {
    name: 'a table of 5 bits',
    base: 'four-bits',
    make: entry('model.embed_tokens.weight', { bits: 5 }),
    message:
      'config.json: quantization_config: tensors.model.embed_tokens.weight.bits: expected one of 16, 8, 6, 4, got 5',
  },
  {
    name: 'a table of 6 bits that says 4',
    base: 'six-bits',
    make: config((quantization) => {
      quantization.embedding_bits = 4;
      (quantization.tensors as Record<string, Json>)['model.embed_tokens.weight']!.bits = 4;
    }),
    message:
      'quality.json: table "model.embed_tokens.weight" says 14,976 stored bytes but the file holds 10,368',
  },
  {
    name: 'a quality.json with other bytes of a table',
    base: 'four-bits',
    make: (copy) =>
      editJson(path.join(copy, 'quality.json'), (value) => ((value.tables as Json[])[0]!.storedBytes = 64)),
    message: 'quality.json: table "model.embed_tokens.weight" says 64 stored bytes but the file holds 10,368',
  },
  {
    name: 'a quality.json with other bits of a layer',
    base: 'four-bits',
    make: (copy) =>
      editJson(path.join(copy, 'quality.json'), (value) => (layerOf(value, k).storedBitsPerWeight = 1)),
    message: `quality.json: layer "${k}" says 1 stored bits a weight but its bytes make 8.96`,
  },
  {
    name: 'a quality.json with other weights of a layer',
    base: 'four-bits',
    make: (copy) => editJson(path.join(copy, 'quality.json'), (value) => (layerOf(value, k).weights = 7)),
    message: `quality.json: layer "${k}" says 7 weights but has 1,600`,
  },
  {
    name: 'a quality.json with other bits of a table',
    base: 'four-bits',
    make: (copy) =>
      editJson(
        path.join(copy, 'quality.json'),
        (value) => ((value.tables as Json[])[0]!.storedBitsPerWeight = 1),
      ),
    message:
      'quality.json: table "model.embed_tokens.weight" says 1 stored bits a weight but its bytes make 7.2',
  },
  {
    name: 'a quality.json with other bits of all linears',
    base: 'four-bits',
    make: (copy) =>
      editJson(path.join(copy, 'quality.json'), (value) => ((value.linears as Json).storedBitsPerWeight = 1)),
    message: 'quality.json: linears says 1 stored bits a weight but its bytes make 8.68097',
  },
  {
    name: 'a quality.json with a table that is none',
    base: 'four-bits',
    make: (copy) =>
      editJson(path.join(copy, 'quality.json'), (value) => ((value.tables as Json[])[0]!.name = 'x')),
    message: 'quality.json: "x" is no table of this package',
  },
  {
    name: 'no quality.json',
    make: (copy) => rmSync(path.join(copy, 'quality.json')),
    message: 'quality.json is missing; copy the package again',
  },
  {
    name: 'a quality.json of another package',
    make: (copy) =>
      editJson(path.join(copy, 'quality.json'), (value) => ((value.layers as Json[])[0]!.name = 'x')),
    message: 'quality.json: layer "model.layers.0.self_attn.q_proj" is missing',
  },
  {
    name: 'a negative count in quality.json',
    make: (copy) =>
      editJson(path.join(copy, 'quality.json'), (value) => ((value.total as Json).parameters = -1)),
    message: 'quality.json: total.parameters: must be at least 0, got -1',
  },
  {
    name: 'a chat template that was put in later',
    make: (copy) => writeFileSync(path.join(copy, 'chat_template.jinja'), '{{ messages }}'),
    message:
      'chat_template.jinja is there, but config.json does not list it: it came into the folder later; remove it',
  },
  {
    name: 'tokens that were added later',
    make: (copy) => writeFileSync(path.join(copy, 'added_tokens.json'), '{"<x>": 5}'),
    message:
      'added_tokens.json is there, but config.json does not list it: it came into the folder later; remove it',
  },
  {
    name: 'a generation_config.json that config.json does not list',
    make: config((quantization) => delete (quantization.files as Json)['generation_config.json']),
    message:
      'generation_config.json is there, but config.json does not list it: it came into the folder later; remove it',
  },
  {
    name: 'no tokenizer',
    make: (copy) => rmSync(path.join(copy, 'tokenizer.json')),
    message: 'tokenizer.json is missing; copy the package again',
  },
];

const bases = new Map<string, string>();
beforeAll(async () => {
  bases.set('plain', await packTinyModel('llama-odd-widths', path.join(folder, 'plain')));
  bases.set('five-levels', await packTinyModel('llama-odd-widths', path.join(folder, 'five'), { levels: 5 }));
  bases.set(
    'eight-bits',
    await packTinyModel('llama-odd-widths', path.join(folder, 'eight'), { embeddingBits: 8 }),
  );
  for (const [name, embeddingBits] of [
    ['six-bits', 6],
    ['four-bits', 4],
  ] as const)
    bases.set(name, await packTinyModel('llama-odd-widths', path.join(folder, name), { embeddingBits }));
  bases.set(
    'structured',
    await packTinyModel('llama-odd-widths', path.join(folder, 'structured'), {
      edit: (block) => {
        block.linears = block.linears.map(({ codes, name, outFeatures, inFeatures, bias, columnScale }) => ({
          ...{ layout: 'structured', name, outFeatures, inFeatures, bias, columnScale },
          codes: codes.map((code) => code & 3),
          levels: new Uint16Array(outFeatures * 7).fill(0x3800),
          salientColumns: new Uint8Array(inFeatures).fill(1),
        }));
      },
    }),
  );
});

test.each(rows)('$name', async ({ make, message, base = 'plain' }) => {
  const copy = mkdtempSync(path.join(folder, 'copy-'));
  cpSync(bases.get(base)!, copy, { recursive: true });
  const size = readFileSync(path.join(copy, 'model.safetensors'));
  make(copy);
  const error = await openPackage(copy).then(
    (opened) => opened.close(),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(DBellError);
  const { code, message: actual } = error as DBellError;
  expect(code).toBe('invalid-package');
  const count = (value: number) => value.toLocaleString('en-US');
  const expected = message
    .replace('SIZE-1', count(size.length - 1))
    .replace('SIZE', count(size.length))
    .replace('OFFSET', /data byte (\d+)/.exec(actual)?.[1] ?? '')
    .replace('DATA', /at byte ([\d,]+\d)/.exec(actual)?.[1] ?? '');
  expect(actual).toBe(`${copy}: ${expected}`);
});

test('a folder that is not there, a file, and a package that is a link', async () => {
  await expect(openPackage(path.join(folder, 'nowhere'))).rejects.toMatchObject({
    code: 'not-found',
    message: `${path.join(folder, 'nowhere')}: there is no such folder`,
  });
  const file = path.join(folder, 'file');
  writeFileSync(file, '');
  await expect(openPackage(file)).rejects.toThrow(`${file}: a packed model is a folder`);
  const link = path.join(folder, 'link');
  symlinkSync(bases.get('plain')!, link);
  const opened = await openPackage(link);
  expect(opened.path).toBe(bases.get('plain'));
  opened.close();
});

test('without the value check the structure is still checked and every read stays in the file', async () => {
  const copy = mkdtempSync(path.join(folder, 'copy-'));
  cpSync(bases.get('plain')!, copy, { recursive: true });
  tensor(`${k}.dbell.scales`, (bytes) => bytes.writeUInt16LE(0x7c00, 0))(copy);
  const opened = await openPackage(copy, { checkValues: false });
  expect(opened.readLinear(k).outFeatures).toBe(40);
  opened.close();
  header((value) => delete value['model.norm.weight'])(copy);
  await expect(openPackage(copy, { checkValues: false })).rejects.toMatchObject({ code: 'invalid-package' });
});

test('what was stored of another model, or damaged, is no checkpoint to finish from', async () => {
  const source = await openModel(path.join(tinyModels, 'llama-plain'));
  const out = path.join(folder, 'checkpoint');
  const sink = createPackageSink({
    workDirectory: `${out}.partial`,
    outputDirectory: out,
    fingerprint: 'one',
  });
  for (const block of roundedBlocks(source)) sink.writeBlock(block);
  expect(sink.storedBlocks()).toEqual([0, 1]);
  const other = createPackageSink({
    workDirectory: `${out}.partial`,
    outputDirectory: out,
    fingerprint: 'two',
  });
  expect(other.storedBlocks()).toEqual([]);

  const file = path.join(`${out}.partial`, 'blocks', 'block-00001.safetensors');
  const sound = readFileSync(file);
  const flipped = Buffer.from(sound);
  flipped[flipped.length - 100] = flipped[flipped.length - 100]! ^ 1;
  writeFileSync(file, flipped);
  await expect(sink.finish(finishOptions(source))).rejects.toMatchObject({
    code: 'invalid-checkpoint',
    message:
      'stored block block-00001.safetensors: its bytes have changed; delete the .partial folder and start again',
  });
  writeFileSync(file, sound.subarray(0, sound.length - 1));
  expect(sink.storedBlocks()).toEqual([0]);
  await expect(sink.finish(finishOptions(source))).rejects.toMatchObject({ code: 'invalid-checkpoint' });
  source.close();

  const untied = await openModel(path.join(tinyModels, 'llama-head-dim'));
  writeFileSync(file, sound);
  await expect(sink.finish(finishOptions(untied))).rejects.toThrow(
    'block-00000.safetensors: model.layers.0.self_attn.q_proj is grid [32, 32], which does not fit this model; delete the .partial folder and start again',
  );
  untied.close();
  expect(() => readFileSync(path.join(out, 'config.json'))).toThrow();
});
