import { describe, expect, it } from 'vitest';
import { createFloatEngine } from '../../engine/float/engine.ts';
import type { BlockRunner, BlockWeights, ColumnScales, StageState } from '../../engine/float/types.ts';
import type { Block, Stage, StageName } from '../../engine/model/architecture.ts';
import { openModel } from '../../engine/model/open.ts';
import { dequantize } from '../../engine/quantize/dequantize.ts';
import { tokenWeightsOf } from '../../engine/quantize/float-taps.ts';
import { toMatrix } from '../reference/float-block.ts';
import {
  type Matrix,
  referenceRelativeError,
  referenceTargets,
  referenceTokenWeights,
  weightedProduct,
} from '../reference/targets.ts';
import { quantizeInMemory, randomWindows, tinyModelPath } from './quantize-support.ts';

const stageNames: StageName[] = ['attention-in', 'attention-out', 'mlp-in', 'mlp-out'];

/** Rows of all windows one below the other. */
const joined = (windows: Float32Array[], width: number): Matrix =>
  windows.flatMap((values) => toMatrix(values, width));

/** What the full-precision stream gives at each stage of a block: inputs and the residual stream behind. */
async function floatTrace(runner: BlockRunner, block: Block, weights: BlockWeights, hidden: Float32Array[]) {
  const results: Awaited<ReturnType<BlockRunner['forwardWithTaps']>>[] = [];
  for (const each of hidden) {
    results.push(
      await runner.forwardWithTaps(block.index, weights, each, {
        activationBits: 16,
        inputs: stageNames,
        sums: ['attention-out', 'mlp-out'],
      }),
    );
  }
  return {
    hidden: results.map((result) => result.hidden),
    inputs: (stage: Stage): Matrix =>
      joined(
        results.map((result) => result.inputs[stage.name]!),
        stage.linears[0]!.inFeatures,
      ),
    sums: (stage: 'attention-out' | 'mlp-out', width: number): Matrix =>
      joined(
        results.map((result) => result.sums[stage]!),
        width,
      ),
  };
}

const models = ['llama-odd-widths', 'qwen2', 'opt-relu', 'opt-post-norm-projected', 'opt-no-affine'];

describe.each(models)('targets of %s', (name) => {
  it.each([
    ['grid-4', { targets: 'own', tokenWeights: 'false' }],
    ['grid-4', { targets: 'own' }],
    ['grid-3', { targets: 'shifted' }],
    ['grid-2', { tokenWeights: 'false' }],
    ['grid-4', {}],
    ['grid-8', { columnScale: 'none' }],
    ['gptq-3', { targets: 'residual', tokenWeights: 'true' }],
  ] as [string, Record<string, string>][])(
    '%s with %o are those of plain code, and so are the corrected biases',
    async (recipe, set) => {
      const modelPath = tinyModelPath(name);
      const source = await openModel(modelPath);
      const { architecture } = source;
      const engine = await createFloatEngine(source, { threads: 1 });
      const windows = randomWindows(architecture.vocabularySize, 4, 20);
      const kind = set.targets ?? 'residual';
      const weighted = set.tokenWeights !== 'false' || recipe === 'gptq-3';
      const { sink } = await quantizeInMemory(modelPath, { recipe, set, windows: () => windows });
      const runner = await engine.blockRunner(windows.context);
      const embedded = Array.from({ length: windows.windowCount }, (_, window) =>
        engine.embed(windows.ids.subarray(window * windows.context, (window + 1) * windows.context)),
      );
      let floatHidden = embedded;
      let hidden = embedded;
      for (const block of architecture.blocks) {
        const stored = sink.blocks.get(block.index)!;
        const original = engine.loadBlock(block.index);
        const float = await floatTrace(runner, block, original, floatHidden);
        const weights: BlockWeights = new Map(original);
        const columnScales: ColumnScales = {};
        for (const stage of block.stages) {
          const states: StageState[] = [];
          for (const each of hidden) {
            const state: StageState = { hidden: each };
            for (const passed of stageNames.slice(0, stageNames.indexOf(stage.name) + 1))
              await runner.enterStage(block.index, passed, weights, state, {
                activationBits: 16,
                columnScales,
                preparation: 'behind',
              });
            states.push(state);
          }
          const inFeatures = stage.linears[0]!.inFeatures;
          const x = joined(
            states.map((state) => state.stageInput!),
            inFeatures,
          );
          const adds = stage.name === 'attention-out' || stage.name === 'mlp-out';
          const behind = adds ? float.sums(stage.name as 'mlp-out', architecture.hiddenSize) : null;
          const tokenWeights = behind && weighted ? referenceTokenWeights(behind) : x.map(() => 1);
          const hessian = weightedProduct(x, x, tokenWeights);
          const norm = stage.foldableNorm?.weight;
          const folded = norm ? stored.floatTensors.get(norm)?.values : undefined;
          for (const linear of stage.linears) {
            const quantized = stored.linears.find((each) => each.name === linear.name)!;
            const scale =
              quantized.columnScale ??
              folded?.map((value, column) => value / original.get(norm!)![column]!) ??
              null;
            const restored = toMatrix(dequantize(quantized), inFeatures).map((row) =>
              row.map((value, column) => value * (scale?.[column] ?? 1)),
            );
            const weight = toMatrix(original.get(`${linear.name}.weight`)!, inFeatures);
            const bias = linear.bias === null ? null : original.get(linear.bias)!;
            let difference: Matrix | null = null;
            let product: Matrix | null = null;
            if (kind === 'residual' && behind) {
              const before = joined(
                states.map((state) => (stage.name === 'attention-out' ? state.hidden : state.residual!)),
                architecture.hiddenSize,
              );
              difference = behind.map((row, t) => row.map((value, i) => value - before[t]![i]!));
              const wanted = difference.map((row) => row.map((value, i) => value - (bias?.[i] ?? 0)));
              product = weightedProduct(wanted, x, tokenWeights);
            } else if (kind !== 'own') {
              const outputs = float
                .inputs(stage)
                .map((row) => weight.map((w) => w.reduce((sum, value, j) => sum + value * row[j]!, 0)));
              product = weightedProduct(outputs, x, tokenWeights);
            }
            const report = stored.reports.find((each) => each.name === linear.name)!;
            expect(report.relativeError / referenceRelativeError(weight, restored, hessian)).toBeCloseTo(
              1,
              3,
            );
            if (product) {
              const target = referenceTargets(weight, product, hessian, 0.05);
              const expected = referenceRelativeError(target, restored, hessian);
              expect(report.targetRelativeError! / expected, linear.name).toBeCloseTo(1, 3);
              expect(expected).toBeLessThan(0.5);
            } else expect(report.targetRelativeError).toBeUndefined();
            if (bias === null) expect(quantized.bias).toBeNull();
            else if (!difference) expect(quantized.bias).toEqual(bias);
            else {
              const total = tokenWeights.reduce((sum, value) => sum + value, 0);
              for (const [row, value] of quantized.bias!.entries()) {
                let mean = 0;
                for (const [t, token] of x.entries()) {
                  const output = token.reduce((sum, each, j) => sum + each * restored[row]![j]!, 0);
                  mean += (tokenWeights[t]! * (difference[t]![row]! - output)) / total;
                }
                expect(Math.abs(value - mean)).toBeLessThan(1e-4);
              }
              weights.set(linear.bias!, quantized.bias!);
            }
            weights.set(`${linear.name}.weight`, dequantize(quantized));
            if (quantized.columnScale) columnScales[stage.name] = quantized.columnScale;
          }
          // The folded norm does to the next pieces what an explicit column scale does.
          if (folded) weights.set(norm!, folded);
          const normBias = stage.foldableNorm?.bias;
          if (folded && normBias) weights.set(normBias, stored.floatTensors.get(normBias)!.values);
        }
        floatHidden = float.hidden;
        const next = [];
        for (const each of hidden)
          next.push(await runner.forward(block.index, weights, each, { activationBits: 16, columnScales }));
        hidden = next;
      }
      await engine.close();
      source.close();
    },
  );
});

describe('token weights', () => {
  it('are the inverse mean squares, with mean 1', () => {
    const { weights, roots } = tokenWeightsOf(Float64Array.of(1, 4, 100));
    const mean = (1 + 0.25 + 0.01) / 3;
    expect([...weights]).toEqual([1, 0.25, 0.01].map((value) => Math.fround(value / mean)));
    for (const [token, root] of roots.entries()) expect(root).toBeCloseTo(Math.sqrt(weights[token]!), 6);
  });

  it('stay finite where tokens, or all of them, are zero', () => {
    const some = tokenWeightsOf(Float64Array.of(0, 1, 1, 1)).weights;
    expect(some.every(Number.isFinite)).toBe(true);
    expect(some[0]! / some[1]!).toBeLessThan(2e6);
    expect([...tokenWeightsOf(new Float64Array(3)).weights]).toEqual([1, 1, 1]);
    expect(tokenWeightsOf(new Float64Array(0)).weights).toEqual(new Float32Array(0));
  });
});
