import { afterEach, describe, expect, test } from 'vitest';
import { createFloatEngine } from '../../engine/float/engine.ts';
import { createFloatTextModel } from '../../engine/float/text-model.ts';
import type { BlockRunOptions, BlockWeights } from '../../engine/float/types.ts';
import { randomIds, relativeMaximumError, type TinyModelOptions, tinyModel } from './float-tiny-model.ts';

const variants: Record<string, TinyModelOptions> = {
  llama: {},
  'qwen3 with a sliding window': { family: 'qwen3', headNorms: true, slidingWindow: 9 },
  opt: {
    family: 'opt',
    normKind: 'layer',
    mlp: 'plain',
    biases: true,
    activation: 'relu',
    keyValueHeadCount: 4,
    headDimension: 6,
    position: { kind: 'learned', offset: 2, table: 'model.embed_positions.weight' },
  },
};

const open: { close(): Promise<void> | void }[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
});
function track<T extends { close(): Promise<void> | void }>(resource: T): T {
  open.push(resource);
  return resource;
}

/** Logits of every position and losses, by the whole-window graphs. */
async function byWindow(
  options: TinyModelOptions,
  ids: Int32Array,
  run: BlockRunOptions = { activationBits: 16 },
  weightsOf?: (blockIndex: number) => BlockWeights,
) {
  const source = tinyModel(options);
  const engine = track(await createFloatEngine(source, { threads: 1 }));
  const runner = await engine.blockRunner(ids.length);
  let hidden = engine.embed(ids);
  for (const { index } of source.architecture.blocks)
    hidden = await runner.forward(index, weightsOf?.(index) ?? engine.loadBlock(index), hidden, run);
  return {
    logits: await engine.logits(hidden, ids.length),
    losses: await engine.tokenLosses(hidden, ids),
  };
}

describe.each(Object.entries(variants))('%s', (_, options) => {
  test('prefill and decode with the cache equal the whole window', async () => {
    // 300 tokens: more than one chunk of positions, and the cache has to grow.
    const ids = randomIds(300, 50, 7);
    const expected = await byWindow(options, ids);
    const model = track(await createFloatTextModel(tinyModel(options), { threads: 1 }));
    const session = track(await model.createSession());
    const at = (position: number) => expected.logits.subarray(position * 50, (position + 1) * 50);
    let fed = 0;
    for (const count of [1, 1, 5, 270, 1, 20, 1, 1]) {
      const logits = await session.feed(ids.subarray(fed, fed + count));
      fed += count;
      expect(session.position).toBe(fed);
      expect(relativeMaximumError(logits, at(fed - 1))).toBeLessThan(5e-6);
    }
    expect(fed).toBe(300);
    expect(relativeMaximumError(await session.tokenLosses(ids), expected.losses)).toBeLessThan(5e-6);
    expect(session.position).toBe(300);
    session.reset();
    expect(session.position).toBe(0);
    expect(relativeMaximumError(await session.feed(ids.subarray(0, 40)), at(39))).toBeLessThan(5e-6);
  });

  test('streamed weights give the same numbers as resident ones', async () => {
    const ids = randomIds(30, 50, 8);
    const losses: Float32Array[] = [];
    for (const weights of ['resident', 'streamed'] as const) {
      const model = track(await createFloatTextModel(tinyModel(options), { threads: 1, weights }));
      expect(model.memoryBytes.blockWeights! > 0).toBe(weights === 'resident');
      losses.push(await track(await model.createSession()).tokenLosses(ids));
    }
    expect(losses[0]).toEqual(losses[1]);
  });
});

test.each([16, 8, 4] as const)(
  'given block weights, column scales and %i activation bits are what is run',
  async (activationBits) => {
    const ids = randomIds(25, 50, 9);
    const others = track(await createFloatEngine(tinyModel({ seed: 2 }), { threads: 1 }));
    const blockWeights = (index: number) => others.loadBlock(index);
    const columnScales = { 'mlp-out': Float32Array.from({ length: 40 }, (_, column) => 0.5 + (column % 7)) };
    const model = track(
      await createFloatTextModel(tinyModel({ seed: 3 }), {
        threads: 1,
        activationBits,
        blockWeights,
        columnScales: () => columnScales,
      }),
    );
    expect(model.activationBits).toBe(activationBits);
    const losses = await track(await model.createSession()).tokenLosses(ids);
    const expected = await byWindow({ seed: 3 }, ids, { activationBits, columnScales }, blockWeights);
    expect(relativeMaximumError(losses, expected.losses)).toBeLessThan(1e-5);
    // Were one of the settings ignored, these would be the numbers.
    for (const ignoring of [
      await byWindow({ seed: 3 }, ids, { activationBits, columnScales }),
      await byWindow({ seed: 3 }, ids, { activationBits }, blockWeights),
      await byWindow({ seed: 3 }, ids, { activationBits: 6, columnScales }, blockWeights),
    ])
      expect(relativeMaximumError(losses, ignoring.losses)).toBeGreaterThan(1e-3);
  },
);

test.each(['token', 'block'] as const)(
  'activations by %s: blocks with a cache equal whole windows',
  async (activationScales) => {
    // Widths of one block, of one and a bit, and of more than two.
    const options = { hiddenSize: 136, headCount: 4, headDimension: 32, intermediateSize: 300 } as const;
    const ids = randomIds(25, 50, 9);
    const run = { activationBits: 6, activationScales } as const;
    const model = track(await createFloatTextModel(tinyModel(options), { threads: 1, ...run }));
    const losses = await track(await model.createSession()).tokenLosses(ids);
    const expected = await byWindow(options, ids, run);
    expect(relativeMaximumError(losses, expected.losses)).toBeLessThan(1e-5);
    const other = await byWindow(options, ids, {
      activationBits: 6,
      activationScales: activationScales === 'token' ? 'block' : 'token',
    });
    expect(relativeMaximumError(losses, other.losses)).toBeGreaterThan(1e-4);
  },
);

test('the input of the head is quantized where that is asked for', async () => {
  const ids = randomIds(25, 50, 9);
  const losses: Float32Array[] = [];
  for (const headActivationBits of [16, 8, 4] as const) {
    const model = track(await createFloatTextModel(tinyModel(), { threads: 1, headActivationBits }));
    losses.push(await track(await model.createSession()).tokenLosses(ids));
  }
  const [plain, eight, four] = losses as [Float32Array, Float32Array, Float32Array];
  expect(relativeMaximumError(eight, plain)).toBeGreaterThan(1e-4);
  expect(relativeMaximumError(eight, plain)).toBeLessThan(3e-2);
  expect(relativeMaximumError(four, plain)).toBeGreaterThan(relativeMaximumError(eight, plain));
});

test('tokens that do not fit are refused with both numbers, and the cache stays usable', async () => {
  const model = track(await createFloatTextModel(tinyModel(), { threads: 1 }));
  const session = track(await model.createSession({ contextLength: 10 }));
  await session.feed(randomIds(8, 50, 1));
  await expect(session.feed(randomIds(3, 50, 1))).rejects.toThrow(
    '3 tokens behind the 8 in the cache do not fit the context of 10; start anew or take a longer context',
  );
  await expect(session.feed(new Int32Array(0))).rejects.toThrow('no tokens were given');
  await expect(session.feed(Int32Array.of(50))).rejects.toThrow(
    'token id 50 at position 8 is outside the vocabulary of 50; the text was tokenized for another model',
  );
  await session.feed(randomIds(2, 50, 1));
  expect(session.position).toBe(10);
  await expect(model.createSession({ contextLength: 513 })).rejects.toThrow(
    'a context of 513 tokens was asked for; this model takes 1 to 512',
  );
});

test('weights that overflow are reported with their block, and the cache forgets the tokens', async () => {
  const source = tinyModel();
  source.tensorData.get('model.layers.1.mlp.up_proj.weight')!.fill(1e38);
  const model = track(await createFloatTextModel(source, { threads: 1 }));
  const session = track(await model.createSession());
  await expect(session.feed(randomIds(3, 50, 1))).rejects.toThrow(
    /^block 1: the block's output is (NaN|-?Infinity) at row 0 of 3, column \d+; /,
  );
  expect(session.position).toBe(0);
});
