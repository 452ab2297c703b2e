import { afterEach, expect, test } from 'vitest';
import { createFloatEngine } from '../../engine/float/engine.ts';
import type { FloatEngine, StageState } from '../../engine/float/types.ts';
import { randomIds, type TinyModelOptions, tinyModel } from './float-tiny-model.ts';

let engine: FloatEngine | null = null;
afterEach(async () => {
  await engine?.close();
  engine = null;
});

async function setUp(options: TinyModelOptions = {}) {
  const source = tinyModel(options);
  engine = await createFloatEngine(source, { threads: 1 });
  return { source, engine };
}

test.each([
  ['self_attn.v_proj', 'the input of stage attention-out'],
  ['self_attn.o_proj', 'the input of stage mlp-in'],
  ['mlp.up_proj', 'the input of stage mlp-out'],
  ['mlp.down_proj', "the block's output"],
])('overflow behind %s is found at %s, by the whole block and by stages', async (module, place) => {
  const { source, engine } = await setUp();
  source.tensorData.get(`model.layers.1.${module}.weight`)!.fill(3e38);
  const runner = await engine.blockRunner(6);
  const weights = engine.loadBlock(1);
  const hidden = engine.embed(randomIds(6, 50, 1));
  const message = new RegExp(
    `^block 1: ${place} is (NaN|-?Infinity) at row \\d of 6, column \\d+; the activations leave the range of float32`,
  );
  await expect(runner.forward(1, weights, hidden, { activationBits: 16 })).rejects.toThrow(message);
  const state: StageState = { hidden };
  const byStages = async () => {
    for (const stage of ['attention-in', 'attention-out', 'mlp-in', 'mlp-out'] as const)
      await runner.enterStage(1, stage, weights, state, { activationBits: 8 });
    return runner.leaveBlock(1, weights, state, { activationBits: 8 });
  };
  await expect(byStages()).rejects.toThrow(message);
});

test('ids outside the vocabulary and positions outside a learned table are refused', async () => {
  const { engine: llama } = await setUp();
  expect(() => llama.embed(Int32Array.of(1, -1))).toThrow(
    'token id -1 at position 1 is outside the vocabulary of 50',
  );
  await llama.close();
  const { engine: opt } = await setUp({
    contextLength: 8,
    position: { kind: 'learned', offset: 2, table: 'positions' },
  });
  expect(opt.embed(randomIds(8, 50, 1))).toHaveLength(8 * 24);
  expect(() => opt.embed(randomIds(9, 50, 1))).toThrow(
    "9 positions do not fit the model's table of 8 learned positions; use a context of at most 8",
  );
});

test('settings that make no sense are refused', async () => {
  await expect(createFloatEngine(tinyModel(), { threads: 0 })).rejects.toThrow(
    'threads is 0; it must be a whole number from 1 on',
  );
  const { engine } = await setUp();
  await expect(engine.blockRunner(0)).rejects.toThrow('context is 0; it must be a whole number from 1 on');
  const runner = await engine.blockRunner(4);
  const weights = engine.loadBlock(0);
  weights.delete('model.layers.0.mlp.up_proj.weight');
  const hidden = engine.embed(randomIds(4, 50, 1));
  await expect(runner.forward(0, weights, hidden, { activationBits: 16 })).rejects.toThrow(
    'block 0: weight model.layers.0.mlp.up_proj.weight was not given',
  );
});

test('blocks of different shapes are refused', async () => {
  const source = tinyModel();
  source.architecture.blocks[1]!.stages[3].linears[0]!.outFeatures = 25;
  await expect(createFloatEngine(source, { threads: 1 })).rejects.toThrow(
    'block 1 has other weights than block 0; models whose blocks differ cannot be run',
  );
});

test('a Gram accumulator of another size is refused; one of the right size counts the rows', async () => {
  const { engine } = await setUp();
  const runner = await engine.blockRunner(5);
  const state: StageState = { hidden: engine.embed(randomIds(5, 50, 1)) };
  const weights = engine.loadBlock(0);
  await expect(
    runner.enterStage(0, 'attention-in', weights, state, { activationBits: 16, gram: engine.newGram(23) }),
  ).rejects.toThrow('the Gram accumulator has size 23, stage attention-in has 24 columns');
  const gram = engine.newGram(24);
  await runner.enterStage(0, 'attention-in', weights, state, { activationBits: 16, gram });
  expect(gram.tokens).toBe(5);
  let diagonal = 0;
  for (let row = 0; row < 5; row++) diagonal += state.stageInput![row * 24]! ** 2;
  expect(gram.matrix()[0]).toBeCloseTo(diagonal, 5);
});

test('activations whose squares overflow are refused before they spoil the Gram matrix', async () => {
  const { source, engine } = await setUp();
  source.tensorData.get('model.layers.0.input_layernorm.weight')!.fill(1e20);
  const runner = await engine.blockRunner(5);
  const state: StageState = { hidden: engine.embed(randomIds(5, 50, 1)) };
  const gram = engine.newGram(24);
  await expect(
    runner.enterStage(0, 'attention-in', engine.loadBlock(0), state, { activationBits: 16, gram }),
  ).rejects.toThrow(
    /^block 0: XᵀX of the input of stage attention-in is -?Infinity at row 0 of 6, column 0;/,
  );
  expect(gram.tokens).toBe(0);
});

test('a closed runner refuses work, and the engine gives a new one', async () => {
  const { engine } = await setUp();
  const runner = await engine.blockRunner(5);
  const hidden = engine.embed(randomIds(5, 50, 1));
  const out = await runner.forward(0, engine.loadBlock(0), hidden, { activationBits: 16 });
  await runner.close();
  await expect(runner.forward(0, engine.loadBlock(0), hidden, { activationBits: 16 })).rejects.toThrow(
    'the block runner of context 5 is closed',
  );
  const another = await engine.blockRunner(5);
  expect(await another.forward(0, engine.loadBlock(0), hidden, { activationBits: 16 })).toEqual(out);
});

test('losses that are not finite are refused', async () => {
  const { source, engine } = await setUp();
  source.tensorData.get('model.norm.weight')!.fill(3e38);
  const ids = randomIds(4, 50, 1);
  await expect(engine.tokenLosses(engine.embed(ids), ids)).rejects.toThrow(
    /^the loss is (NaN|Infinity) at row 0 of 3/,
  );
});
