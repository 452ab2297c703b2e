import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { MemorySource } from '../../engine/model/byte-source.ts';
import { ConfigReader } from '../../engine/model/config-reader.ts';
import { describeModel } from '../../engine/model/families/index.ts';
import { openModel } from '../../engine/model/open.ts';
import { ProblemList } from '../../engine/model/problems.ts';
import type { StoredType } from '../../engine/model/source.ts';
import { storedLayout } from '../../engine/model/stored-types.ts';
import { WeightReader } from '../../engine/model/weights.ts';
import { asset } from '../assets.ts';

const fixtures = path.resolve(import.meta.dirname, '../fixtures/model');

describe.each(readdirSync(path.join(fixtures, 'gguf-blocks')))('blocks of %s', (file) => {
  const record = JSON.parse(readFileSync(path.join(fixtures, 'gguf-blocks', file), 'utf8')) as {
    type: StoredType;
    blocks: number;
    bytes: string;
    float32: string;
  };

  test('have the float32 values of the reference, bit for bit, NaN and infinities included', () => {
    const layout = storedLayout(record.type)!;
    const bytes = new Uint8Array(Buffer.from(record.bytes, 'base64'));
    const expected = new Float32Array(new Uint8Array(Buffer.from(record.float32, 'base64')).buffer);
    expect(bytes.length).toBe(record.blocks * layout.blockBytes);
    expect(expected.length).toBe(record.blocks * layout.blockElements);
    const values = new Float32Array(expected.length + 3);
    layout.widen(bytes, values, 3);
    expect(Array.from(values.subarray(0, 3))).toEqual([0, 0, 0]);
    let differing = 0;
    for (let i = 0; i < expected.length; i++) if (!Object.is(values[i + 3], expected[i])) differing++;
    expect(differing).toBe(0);
    // The fixture reaches both the ordinary and the hostile values, or it proves little.
    expect(expected.some((value) => Number.isFinite(value) && value !== 0)).toBe(true);
  });
});

test('an infinite scale of a block is found when the weight is read', () => {
  const bytes = new Uint8Array(2 * 20);
  bytes[20 + 1] = 0x7c;
  const reader = new WeightReader(
    new Map([
      [
        'w',
        {
          source: new MemorySource(bytes, 'model.gguf'),
          storedType: 'Q4_1',
          shape: [2, 32],
          position: 0,
          bytes: 40,
        },
      ],
    ]),
  );
  expect(reader.readRows('w', 0, 1)).toEqual(new Float32Array(32));
  expect(() => reader.read('w')).toThrow('model.gguf: tensor "w" holds NaN at [1, 0]; the file is damaged');
});

test.each(readdirSync(path.join(fixtures, 'gguf')))(
  '%s holds the same model as its Hugging Face folder',
  async (file) => {
    const name = file.replace('.gguf', '');
    const folder = await openModel(path.join(fixtures, 'tiny', name));
    const gguf = await openModel(path.join(fixtures, 'gguf', file));
    expect(gguf.warnings).toEqual([]);
    expect(gguf.format).toBe('gguf');
    expect(gguf.license).toBe('apache-2.0');
    expect(gguf.architecture).toEqual(folder.architecture);
    expect(gguf.parameterCount).toBe(folder.parameterCount);
    expect([...gguf.tensors.keys()].sort()).toEqual([...folder.tensors.keys()].sort());
    for (const [tensor, info] of folder.tensors) {
      expect(gguf.tensors.get(tensor)?.shape).toEqual(info.shape);
      expect(gguf.readFloat32(tensor)).toEqual(folder.readFloat32(tensor));
    }
    // The config that was made for it describes the same model when it is read again.
    const again = describeModel(new ConfigReader(JSON.parse(JSON.stringify(gguf.config)), new ProblemList()));
    expect({ ...again?.architecture, head: gguf.architecture.head }).toEqual(gguf.architecture);
    const query = folder.architecture.blocks[1]!.stages[0].linears[0]!;
    const half = query.outFeatures / 2;
    for (const [begin, count] of [
      [0, query.outFeatures],
      [half - 3, 5],
      [query.outFeatures - 1, 1],
      [2, 0],
    ] as const)
      expect(gguf.readRowsFloat32(`${query.name}.weight`, begin, count)).toEqual(
        folder.readRowsFloat32(`${query.name}.weight`, begin, count),
      );
    folder.close();
    gguf.close();
  },
);

test.skipIf(asset('models/smollm2-135m-instruct-gguf') === null)(
  'SmolLM2 opens with what its metadata say',
  async () => {
    const model = await openModel(
      asset('models/smollm2-135m-instruct-gguf/SmolLM2-135M-Instruct.Q4_1.gguf')!,
    );
    const a = model.architecture;
    expect(model.warnings).toEqual([]);
    expect(model.parameterCount).toBe(134_515_008);
    expect(a).toMatchObject({
      family: 'llama',
      hiddenSize: 576,
      intermediateSize: 1536,
      headCount: 9,
      keyValueHeadCount: 3,
      headDimension: 64,
      vocabularySize: 49_152,
      contextLength: 8192,
      position: { kind: 'rope', theta: 100_000, scaling: { kind: 'none' }, rotaryDimensions: 64 },
      head: { weight: 'model.embed_tokens.weight', tied: true },
      endOfTextIds: [2],
      beginOfTextId: 1,
    });
    expect(a.blocks).toHaveLength(30);
    expect(a.finalNorm?.epsilon).toBe(1e-5);
    expect(model.tensors.get('model.layers.0.self_attn.q_proj.weight')).toEqual({
      name: 'model.layers.0.self_attn.q_proj.weight',
      storedType: 'Q4_1',
      shape: [576, 576],
      storedBytes: 576 * 18 * 20,
    });
    expect(model.license).toBe('apache-2.0');
    expect(model.chatTemplate).toContain('messages');
    expect(model.tokenizerFiles.has('tokenizer.json')).toBe(true);
    expect(model.ggufMetadata?.get('tokenizer.ggml.pre')).toBe('smollm');
    model.readFloat32('model.layers.29.mlp.down_proj.weight');
    model.close();
  },
);
