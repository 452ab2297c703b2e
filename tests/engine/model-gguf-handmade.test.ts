import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openModel } from '../../engine/model/open.ts';
import type { ModelSource } from '../../engine/model/source.ts';
import { float32Tensor, handmadeGguf, makeGguf, withPair } from './model-fixtures.ts';

let root: string;
let folder: string;
let number = 0;
beforeAll(() => {
  root = mkdtempSync(path.join(tmpdir(), 'dbell-gguf-'));
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

const warningsOf = (model: ModelSource) => model.warnings.map((warning) => warning.message);

describe('a GGUF made by hand', () => {
  function write(bytes: Uint8Array, name = 'model.gguf'): string {
    mkdirSync(folder, { recursive: true });
    writeFileSync(path.join(folder, name), bytes);
    return path.join(folder, name);
  }
  const { pairs, tensors } = handmadeGguf();

  test.each([
    ['without an alignment', makeGguf(pairs, tensors)],
    [
      'aligned to 64',
      makeGguf(withPair(pairs, 'general.alignment', ['uint32', 64]), tensors, { alignment: 64 }),
    ],
    ['of version 2', makeGguf(pairs, tensors, { version: 2 })],
    ['with bytes behind its end', makeGguf(pairs, tensors, { trailing: 77 })],
    [
      'with gaps between tensors',
      makeGguf(
        pairs,
        tensors.map((tensor, i) => (i === tensors.length - 1 ? { ...tensor, offset: 2048n } : tensor)),
        { trailing: 2048 },
      ),
    ],
    [
      'with odd metadata of every kind',
      makeGguf(
        [
          ...pairs,
          ['x.u64', 'uint64', 2n ** 63n],
          ['x.i64', 'int64', -5n],
          ['x.f64', 'float64', 0.1],
          ['x.empty', 'array', { item: 'string', values: [] }],
          ['x.list', 'array', { item: 'uint64', values: [1n, 2n ** 60n] }],
          ['x.flag', 'bool', true],
        ],
        tensors,
      ),
    ],
  ])('%s opens', async (_, bytes) => {
    const model = await open(write(bytes));
    expect(warningsOf(model)).toEqual([]);
    expect(model.architecture).toMatchObject({
      hiddenSize: 8,
      headCount: 2,
      keyValueHeadCount: 1,
      headDimension: 4,
    });
    expect(model.readFloat32('model.norm.weight')).toEqual(
      Float32Array.from({ length: 8 }, (__, i) => 1 + i / 64),
    );
    // Tensor 3 of the file is attn_q; heads of 4 rows, whose rows 0, 2, 1, 3 are stored in this order.
    const query = Array.from(model.readFloat32('model.layers.0.self_attn.q_proj.weight'));
    expect(query.filter((__, i) => i % 8 === 0).map((value) => (value - 3) * 8)).toEqual([
      0, 2, 1, 3, 4, 6, 5, 7,
    ]);
  });

  test('metadata are handed on with their types', async () => {
    const model = await open(
      write(makeGguf([...pairs, ['x.u64', 'uint64', 2n ** 63n], ['x.flag', 'bool', false]], tensors)),
    );
    expect(model.ggufMetadata?.get('x.u64')).toBe(2n ** 63n);
    expect(model.ggufMetadata?.get('x.flag')).toBe(false);
    expect(model.ggufMetadata?.get('tokenizer.ggml.token_type')).toEqual(Int32Array.from([1, 1, 1, 3]));
    expect(model.ggufMetadata?.get('tokenizer.ggml.merges')).toEqual(['a b']);
  });

  test('is known by its first bytes where the name says nothing', async () => {
    expect((await open(write(makeGguf(pairs, tensors), 'sha256-abc'))).format).toBe('gguf');
  });

  test('a vocabulary larger than the tokenizer is that of the embedding', async () => {
    const larger = tensors.map((tensor, i) =>
      i === 0 ? { ...tensor, dimensions: [8, 6], bytes: float32Tensor([48], 0.5).bytes } : tensor,
    );
    expect((await open(write(makeGguf(pairs, larger)))).architecture.vocabularySize).toBe(6);
  });

  test('a window makes it a Mistral', async () => {
    const model = await open(
      write(makeGguf([...pairs, ['llama.attention.sliding_window', 'uint32', 8]], tensors)),
    );
    expect(model.architecture).toMatchObject({ family: 'mistral', slidingWindow: 8 });
  });

  test('several end-of-text ids, and divisors of 1, are nothing special', async () => {
    const model = await open(
      write(
        makeGguf(
          [...pairs, ['tokenizer.ggml.eot_token_id', 'uint32', 2]],
          [
            ...tensors,
            { name: 'rope_freqs.weight', dimensions: [2], type: 0, bytes: float32Tensor([2], 1).bytes },
          ],
        ),
      ),
    );
    expect(model.architecture.endOfTextIds).toEqual([2, 3]);
    expect(model.architecture.position).toMatchObject({ scaling: { kind: 'none' } });
  });
});
