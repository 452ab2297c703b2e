import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Architecture } from '../../engine/model/architecture.ts';
import { openModel } from '../../engine/model/open.ts';

const root = path.resolve(import.meta.dirname, '../fixtures/model/tiny');

async function architectureOf(name: string): Promise<Architecture> {
  const model = await openModel(path.join(root, name));
  model.close();
  return model.architecture;
}

test.each(readdirSync(root))('%s opens without a warning and its values are finite', async (name) => {
  const model = await openModel(path.join(root, name));
  expect(model.warnings).toEqual([]);
  expect(model.parameterCount * 4).toBeLessThan(300_000);
  for (const tensor of model.tensors.keys()) model.readFloat32(tensor);
  expect(model.architecture.endOfTextIds).toEqual([287]);
  expect(model.architecture.beginOfTextId).toBe(287);
  const { ids } = JSON.parse(readFileSync(path.join(root, name, 'expected.json'), 'utf8')) as {
    ids: number[];
  };
  expect(ids).toHaveLength(128);
  model.close();
});

describe('an option is read from the config', () => {
  test('rope scaling', async () => {
    expect((await architectureOf('llama-rope-llama3')).position).toEqual({
      kind: 'rope',
      theta: 500_000,
      rotaryDimensions: 8,
      scaling: {
        kind: 'llama3',
        factor: 8,
        lowFrequencyFactor: 1,
        highFrequencyFactor: 4,
        originalContextLength: 32,
      },
    });
    expect((await architectureOf('llama-rope-linear')).position).toMatchObject({
      scaling: { kind: 'linear', factor: 4 },
    });
  });

  test('head dimension, biases, norms of queries and keys, windows', async () => {
    const headDimension = await architectureOf('llama-head-dim');
    expect(headDimension.headDimension).toBe(16);
    expect(headDimension.blocks[0]!.stages[0].linears.map((l) => l.outFeatures)).toEqual([64, 16, 16]);
    expect(headDimension.blocks[0]!.stages[1].linears[0]!.inFeatures).toBe(64);
    const biased = (await architectureOf('llama-attention-bias')).blocks[1]!;
    expect(biased.stages.flatMap((s) => s.linears).map((l) => l.bias !== null)).toEqual([
      ...[true, true, true, true],
      ...[false, false, false],
    ]);
    const mlpBias = (await architectureOf('llama-mlp-bias')).blocks[1]!;
    expect(mlpBias.stages[3].linears[0]!.bias).toBe('model.layers.1.mlp.down_proj.bias');
    const qwen = (await architectureOf('qwen2')).blocks[0]!;
    expect(qwen.stages.flatMap((s) => s.linears).filter((l) => l.bias !== null)).toHaveLength(3);
    expect((await architectureOf('qwen3')).blocks[0]!.queryNorm?.weight).toBe(
      'model.layers.0.self_attn.q_norm.weight',
    );
    expect((await architectureOf('mistral-sliding-window')).slidingWindow).toBe(16);
    expect((await architectureOf('mistral')).slidingWindow).toBeNull();
  });

  test('heads', async () => {
    expect((await architectureOf('llama-untied')).head).toEqual({
      weight: 'lm_head.weight',
      tied: false,
      bias: null,
    });
    expect((await architectureOf('llama-plain')).head.tied).toBe(true);
  });

  test('OPT in its variants', async () => {
    const relu = await architectureOf('opt-relu');
    expect(relu).toMatchObject({ activation: 'relu', mlp: 'plain', normPlacement: 'pre' });
    expect(relu.blocks[0]!.stages[0].foldableNorm).toBe(relu.blocks[0]!.attentionNorm);
    expect(relu.position).toEqual({
      kind: 'learned',
      offset: 2,
      table: 'model.decoder.embed_positions.weight',
    });
    expect((await architectureOf('opt-gelu')).activation).toBe('gelu');
    expect((await architectureOf('opt-gelu-new')).activation).toBe('gelu_tanh');
    const post = await architectureOf('opt-post-norm-projected');
    expect(post.normPlacement).toBe('post');
    expect(post.finalNorm).toBeNull();
    expect(post.blocks[0]!.stages[0].foldableNorm).toBeNull();
    expect(post.embedding).toEqual({
      table: 'model.decoder.embed_tokens.weight',
      embeddingSize: 16,
      projectIn: 'model.decoder.project_in.weight',
      projectOut: 'model.decoder.project_out.weight',
    });
    const plain = await architectureOf('opt-no-affine');
    expect(plain.blocks[0]!.attentionNorm).toEqual({
      kind: 'layer',
      epsilon: 1e-5,
      weight: null,
      bias: null,
    });
    expect(plain.blocks[0]!.stages[0].foldableNorm).toBeNull();
    expect((await architectureOf('opt-no-bias')).blocks[0]!.stages[2].linears[0]!.bias).toBeNull();
    expect((await architectureOf('opt-no-final-norm')).finalNorm).toBeNull();
  });
});
