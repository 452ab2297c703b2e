import { describe, expect, test } from 'vitest';
import { linearsOf } from '../../engine/model/architecture.ts';
import { inspectModel, openModel } from '../../engine/model/open.ts';
import { asset, bundled } from '../assets.ts';

interface Expectation {
  path: string | null;
  name: string;
  family: string;
  parameters: number;
  layers: number;
  hidden: number;
  /** Query heads, key/value heads, head dimension. */
  heads: [number, number, number];
}

const models: Expectation[] = [
  {
    name: 'dbell-stories-7m',
    path: bundled.model,
    family: 'llama',
    parameters: 7_344_384,
    layers: 8,
    hidden: 256,
    heads: [4, 2, 64],
  },
  {
    name: 'stories260k',
    path: asset('models/stories260k/hf'),
    family: 'llama',
    parameters: 260_032,
    layers: 5,
    hidden: 64,
    heads: [8, 4, 8],
  },
  {
    name: 'stories260k as qwen2',
    path: asset('models/stories260k/hf-qwen2'),
    family: 'qwen2',
    parameters: 260_032 + 5 * (64 + 32 + 32),
    layers: 5,
    hidden: 64,
    heads: [8, 4, 8],
  },
  {
    name: 'tinystories-656k (the shared table stored as the head alone)',
    path: asset('models/tinystories-656k/hf'),
    family: 'llama',
    parameters: 656_000,
    layers: 2,
    hidden: 128,
    heads: [8, 4, 16],
  },
  {
    name: 'tinystories-656k as qwen2',
    path: asset('models/tinystories-656k/hf-qwen2'),
    family: 'qwen2',
    parameters: 656_000 + 2 * (128 + 64 + 64),
    layers: 2,
    hidden: 128,
    heads: [8, 4, 16],
  },
  {
    name: 'tinystories-instruct-3m as OPT',
    path: asset('models/tinystories-instruct-3m-gptneo/hf-opt'),
    family: 'opt',

    parameters: 3_413_888,
    layers: 8,
    hidden: 128,
    heads: [16, 16, 8],
  },
];

describe.each(models)('$name', (expected) => {
  test.skipIf(expected.path === null)(
    'opens with its architecture, and every weight can be read',
    async () => {
      const model = await openModel(expected.path!);
      const a = model.architecture;
      expect(a.family).toBe(expected.family);
      expect(a.blocks.length).toBe(expected.layers);
      expect(a.hiddenSize).toBe(expected.hidden);
      expect([a.headCount, a.keyValueHeadCount, a.headDimension]).toEqual(expected.heads);
      expect(a.head).toEqual({ weight: a.embedding.table, tied: true, bias: null });
      expect(model.parameterCount).toBe(expected.parameters);
      expect(model.warnings).toEqual([]);
      let elements = 0;
      for (const info of model.tensors.values()) {
        const values = model.readFloat32(info.name);
        expect(values.length).toBe(info.shape.reduce((product, size) => product * size, 1));
        elements += values.length;
      }
      expect(elements).toBe(expected.parameters);
      for (const block of a.blocks)
        for (const linear of linearsOf(block))
          expect(model.tensors.get(`${linear.name}.weight`)?.shape).toEqual([
            linear.outFeatures,
            linear.inFeatures,
          ]);
      expect(model.tensors.get(a.embedding.table)?.shape).toEqual([
        a.vocabularySize,
        a.embedding.embeddingSize,
      ]);
      model.close();
    },
  );

  test.skipIf(expected.path === null)('is inspected without problems', async () => {
    const inspection = await inspectModel(expected.path!);
    expect(inspection.problems).toEqual([]);
    expect(inspection.parameterCount).toBe(expected.parameters);
  });
});

test('rows of a table equal the same rows of the whole', async () => {
  const model = await openModel(bundled.model);
  const table = model.architecture.embedding.table;
  const whole = model.readFloat32(table);
  expect(model.readRowsFloat32(table, 17, 3)).toEqual(whole.slice(17 * 256, 20 * 256));
  model.close();
});

test('the fingerprint is the same at every opening', async () => {
  const first = await openModel(bundled.model);
  const second = await openModel(bundled.model);
  const fingerprint = await first.fingerprint();
  expect(fingerprint).toMatch(/^[0-9a-f]{64}$/);
  expect(await second.fingerprint()).toBe(fingerprint);
  first.close();
  second.close();
});
