import { afterEach, describe, expect, test } from 'vitest';
import { createFloatEngine } from '../../engine/float/engine.ts';
import type { FloatEngine, StageState } from '../../engine/float/types.ts';
import type { StageName } from '../../engine/model/architecture.ts';
import type { ModelSource } from '../../engine/model/source.ts';
import { ReferenceModel, toMatrix } from '../reference/float-block.ts';
import { randomIds, relativeMaximumError, type TinyModelOptions, tinyModel } from './float-tiny-model.ts';

const stages: StageName[] = ['attention-in', 'attention-out', 'mlp-in', 'mlp-out'];
const opt = {
  family: 'opt',
  normKind: 'layer',
  mlp: 'plain',
  biases: true,
  activation: 'relu',
  keyValueHeadCount: 4,
  headDimension: 6,
  position: { kind: 'learned', offset: 2, table: 'model.embed_positions.weight' },
} as const satisfies TinyModelOptions;
const rope = (scaling: object, rotaryDimensions = 8): TinyModelOptions['position'] =>
  ({ kind: 'rope', theta: 500000, rotaryDimensions, scaling }) as TinyModelOptions['position'];

const variants: Record<string, TinyModelOptions> = {
  llama: {},
  'llama with an untied head, one key head and a wide head dimension': {
    tied: false,
    keyValueHeadCount: 1,
    headDimension: 16,
  },
  'llama with biases and odd widths': {
    biases: true,
    hiddenSize: 18,
    headDimension: 10,
    headCount: 3,
    keyValueHeadCount: 3,
    intermediateSize: 31,
  },
  'llama3 rope scaling': {
    position: rope({
      kind: 'llama3',
      factor: 8,
      lowFrequencyFactor: 1,
      highFrequencyFactor: 4,
      originalContextLength: 32,
    }),
  },
  'linear rope scaling': { position: rope({ kind: 'linear', factor: 4 }) },
  'rope on a part of the head': { position: rope({ kind: 'none' }, 4) },
  'qwen2 (biases on all linears)': { family: 'qwen2', biases: true },
  'qwen3 (head norms)': { family: 'qwen3', headNorms: true },
  'bitnet (norms in front of o and down, squared ReLU)': {
    family: 'bitnet',
    subNorms: true,
    activation: 'relu_squared',
  },
  'mistral (sliding window)': { family: 'mistral', slidingWindow: 7 },
  opt,
  'opt with gelu': { ...opt, activation: 'gelu' },
  'opt with gelu_tanh': { ...opt, activation: 'gelu_tanh' },
  'opt with quick_gelu': { ...opt, activation: 'quick_gelu' },
  'opt without affine norms': { ...opt, normAffine: false },
  'opt with norms behind, projected embeddings and no final norm': {
    ...opt,
    normPlacement: 'post',
    embeddingSize: 10,
    finalNorm: false,
  },
};

let engine: FloatEngine | null = null;
afterEach(async () => {
  await engine?.close();
  engine = null;
});

async function setUp(options: TinyModelOptions): Promise<{ source: ModelSource; engine: FloatEngine }> {
  const source = tinyModel(options);
  engine = await createFloatEngine(source, { threads: 1 });
  return { source, engine };
}

test.each([8, 6, 4] as const)('steps by block of %i-bit activations', async (activationBits) => {
  const options = { hiddenSize: 136, headDimension: 32, intermediateSize: 300, biases: true } as const;
  const { source, engine } = await setUp(options);
  const { architecture } = source;
  const count = 19;
  const runner = await engine.blockRunner(count);
  const weights = engine.loadBlock(0);
  const hidden = engine.embed(randomIds(count, architecture.vocabularySize, 4));
  const columnScales = Object.fromEntries(
    architecture.blocks[0]!.stages.map(({ name, linears }) => [
      name,
      // One column in fifty is much larger, so that steps by token and by block are far apart.
      Float32Array.from({ length: linears[0]!.inFeatures }, (_, column) => (column % 50 === 9 ? 40 : 1)),
    ]),
  );
  const run = { activationBits, activationScales: 'block', columnScales } as const;
  const trace = new ReferenceModel(source).block(0, toMatrix(hidden, architecture.hiddenSize), run);
  const whole = await runner.forward(0, weights, hidden, run);
  const byToken = await runner.forward(0, weights, hidden, { activationBits, columnScales });
  expect(relativeMaximumError(byToken, whole)).toBeGreaterThan(1e-3);
  const before: StageState = { hidden };
  const behind: StageState = { hidden };
  const unprepared = { ...run, preparation: 'behind' } as const;
  for (const stage of stages) {
    await runner.enterStage(0, stage, weights, before, run);
    // What rounds there is the first stage's own input; later ones differ by rounding flips.
    if (stage === 'attention-in')
      expect(relativeMaximumError(before.stageInput!, trace.stageInputs[stage].flat())).toBeLessThan(3e-6);
    await runner.enterStage(0, stage, weights, behind, unprepared);
  }
  expect(relativeMaximumError(await runner.leaveBlock(0, weights, before, run), whole)).toBeLessThan(1e-6);
  expect(relativeMaximumError(await runner.leaveBlock(0, weights, behind, unprepared), whole)).toBeLessThan(
    1e-6,
  );
});

describe.each(Object.entries(variants))('%s', (_, options) => {
  const context = 21;

  test('equals the plain reference from embedding to losses', async () => {
    const { source, engine } = await setUp(options);
    const reference = new ReferenceModel(source);
    const ids = randomIds(context, source.architecture.vocabularySize, 3);
    const runner = await engine.blockRunner(context);
    let hidden = engine.embed(ids);
    let expected = reference.embed(ids);
    expect(relativeMaximumError(hidden, expected.flat())).toBeLessThan(1e-6);
    for (const { index } of source.architecture.blocks) {
      const trace = reference.block(index, expected);
      const result = await runner.forwardWithTaps(index, engine.loadBlock(index), hidden, {
        activationBits: 16,
        absMax: stages,
        inputs: stages,
      });
      for (const stage of stages) {
        const input = trace.floatInputs[stage];
        const absMax = input[0]!.map((_, column) => Math.max(...input.map((row) => Math.abs(row[column]!))));
        expect(relativeMaximumError(result.inputs[stage]!, input.flat())).toBeLessThan(3e-6);
        expect(relativeMaximumError(result.absMax[stage]!, absMax)).toBeLessThan(3e-6);
      }
      hidden = result.hidden;
      expected = trace.out;
      expect(relativeMaximumError(hidden, expected.flat())).toBeLessThan(3e-6);
    }
    const logits = reference.logits(expected);
    expect(relativeMaximumError(await engine.logits(hidden, context), logits.flat())).toBeLessThan(1e-5);
    expect(
      relativeMaximumError(await engine.tokenLosses(hidden, ids), reference.losses(logits, ids)),
    ).toBeLessThan(1e-5);
  });

  test.each([16, 8, 6, 4] as const)(
    'stage by stage equals the whole block, activations at %i bits',
    async (activationBits) => {
      const { source, engine } = await setUp(options);
      const { architecture } = source;
      const ids = randomIds(context, architecture.vocabularySize, 4);
      const runner = await engine.blockRunner(context);
      const weights = engine.loadBlock(0);
      const hidden = engine.embed(ids);
      const columnScales = {
        'attention-out': Float32Array.from(
          { length: architecture.headCount * architecture.headDimension },
          (_, column) => 0.5 + (column % 5) / 3,
        ),
        'mlp-out': Float32Array.from(
          { length: architecture.intermediateSize },
          (_, column) => (column % 2 ? -1 : 1) * (1 + (column % 3)),
        ),
      };
      const whole = await runner.forward(0, weights, hidden, { activationBits, columnScales });
      const state: StageState = { hidden };
      const reference = new ReferenceModel(source);
      const trace = reference.block(0, toMatrix(hidden, architecture.hiddenSize), {
        activationBits,
        columnScales,
      });
      for (const stage of stages) {
        const before = state.stageInput;
        await runner.enterStage(0, stage, weights, state, { activationBits, columnScales });
        expect(state.stageInput).not.toBe(before);
        // Rounding flips make later stages of the float32 and the float64 way part by one step where activations are quantized.
        if (activationBits === 16)
          expect(relativeMaximumError(state.stageInput!, trace.stageInputs[stage].flat())).toBeLessThan(3e-6);
        expect(state.residual !== undefined).toBe(stage === 'mlp-in' || stage === 'mlp-out');
      }
      const out = await runner.leaveBlock(0, weights, state, { activationBits, columnScales });
      expect(relativeMaximumError(out, whole)).toBeLessThan(1e-6);
    },
  );

  test.each([16, 8] as const)(
    'inputs may cross the borders unprepared, activations at %i bits',
    async (activationBits) => {
      const { source, engine } = await setUp(options);
      const { architecture } = source;
      const runner = await engine.blockRunner(context);
      const weights = engine.loadBlock(0);
      const hidden = engine.embed(randomIds(context, architecture.vocabularySize, 4));
      const columnScales = Object.fromEntries(
        architecture.blocks[0]!.stages.map(({ name, linears }) => [
          name,
          Float32Array.from({ length: linears[0]!.inFeatures }, (_, column) => 0.5 + (column % 5) / 3),
        ]),
      );
      const run = { activationBits, columnScales };
      const whole = await runner.forwardWithTaps(0, weights, hidden, { ...run, inputs: stages });
      const state: StageState = { hidden };
      const behind = { ...run, preparation: 'behind' } as const;
      for (const stage of stages) {
        await runner.enterStage(0, stage, weights, state, behind);
        expect(relativeMaximumError(state.stageInput!, whole.inputs[stage]!)).toBeLessThan(1e-6);
      }
      const out = await runner.leaveBlock(0, weights, state, behind);
      expect(relativeMaximumError(out, whole.hidden)).toBeLessThan(1e-6);
    },
  );

  test('the sums behind a stage are the residual stream before any norm', async () => {
    const { source, engine } = await setUp(options);
    const { architecture } = source;
    const runner = await engine.blockRunner(context);
    const hidden = engine.embed(randomIds(context, architecture.vocabularySize, 4));
    const { sums, hidden: out } = await runner.forwardWithTaps(0, engine.loadBlock(0), hidden, {
      activationBits: 16,
      sums: ['attention-out', 'mlp-out'],
    });
    const reference = new ReferenceModel(source);
    const trace = reference.block(0, toMatrix(hidden, architecture.hiddenSize));
    expect(relativeMaximumError(sums['attention-out']!, trace.sums['attention-out'].flat())).toBeLessThan(
      3e-6,
    );
    expect(relativeMaximumError(sums['mlp-out']!, trace.sums['mlp-out'].flat())).toBeLessThan(3e-6);
    if (architecture.normPlacement === 'pre') expect(sums['mlp-out']).toEqual(out);
    else expect(relativeMaximumError(sums['mlp-out']!, out)).toBeGreaterThan(0.1);
  });
});

test('a weighted Gram matrix is that of the rows times their factors', async () => {
  const { source, engine } = await setUp({});
  const { architecture } = source;
  const context = 21;
  const runner = await engine.blockRunner(context);
  const weights = engine.loadBlock(0);
  const hidden = engine.embed(randomIds(context, architecture.vocabularySize, 8));
  const gramRowScale = Float32Array.from({ length: context }, (_, row) => (row % 4) / 2);
  for (const stage of ['attention-in', 'attention-out'] as const) {
    const state: StageState = { hidden };
    const gram = engine.newGram(
      stage === 'attention-in'
        ? architecture.hiddenSize
        : architecture.headCount * architecture.headDimension,
    );
    if (stage === 'attention-out')
      await runner.enterStage(0, 'attention-in', weights, state, { activationBits: 16 });
    await runner.enterStage(0, stage, weights, state, { activationBits: 16, gram, gramRowScale });
    const rows = toMatrix(state.stageInput!, gram.size);
    const expected = new Float64Array(gram.size ** 2);
    for (const [index, row] of rows.entries())
      for (const [i, a] of row.entries())
        for (const [j, b] of row.entries()) expected[i * gram.size + j]! += gramRowScale[index]! ** 2 * a * b;
    expect(relativeMaximumError(gram.matrix(), expected)).toBeLessThan(1e-6);
  }
});

test('results do not depend on the number of threads', async () => {
  const source = tinyModel({ hiddenSize: 256, intermediateSize: 768, headDimension: 64 });
  const ids = randomIds(300, 50, 5);
  const results: { hidden: Float32Array; inputs: object; gram: Float64Array }[] = [];
  for (const threads of [1, 2, 3]) {
    const each = await createFloatEngine(source, { threads });
    const runner = await each.blockRunner(ids.length);
    const hidden = each.embed(ids);
    const options = { activationBits: 8 } as const;
    const gram = each.newGram(256);
    await runner.enterStage(0, 'attention-in', each.loadBlock(0), { hidden }, { ...options, gram });
    const whole = await runner.forwardWithTaps(0, each.loadBlock(0), hidden, { ...options, inputs: stages });
    results.push({ hidden: whole.hidden, inputs: whole.inputs, gram: gram.matrix() });
    await each.close();
  }
  expect(results[1]).toEqual(results[0]);
  expect(results[2]).toEqual(results[0]);
});

test.each([
  [1, null],
  [127, null],
  [128, null],
  [129, null],
  [300, null],
  [300, 1],
  [300, 100],
  [300, 128],
  [300, 200],
  [257, 300],
])(
  'a context of %i with a sliding window of %s equals the plain reference',
  async (context, slidingWindow) => {
    const { source, engine } = await setUp({
      slidingWindow,
      hiddenSize: 8,
      headDimension: 4,
      position: rope({ kind: 'none' }, 4),
    });
    const hidden = engine.embed(randomIds(context, 50, 6));
    const runner = await engine.blockRunner(context);
    const out = await runner.forward(0, engine.loadBlock(0), hidden, { activationBits: 16 });
    const expected = new ReferenceModel(source).block(0, toMatrix(hidden, 8)).out.flat();
    expect(relativeMaximumError(out, expected)).toBeLessThan(3e-6);
  },
);
