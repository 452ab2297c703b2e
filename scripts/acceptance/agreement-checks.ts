/**
 * Packed runtime against float path, on one package: integers, linears and blocks; agreement-losses.ts has it end to end. Nothing here says what is good enough;
 * items/agreement.ts does.
 */
import { createFloatEngine } from '../../engine/float/engine.ts';
import type { ActivationBits, ActivationScales } from '../../engine/float/types.ts';
import type { Block, StageName } from '../../engine/model/architecture.ts';
import { threads as nativeThreads } from '../../engine/native/index.ts';
import type { KernelName } from '../../engine/native/runtime.ts';
import type { PackageSource } from '../../engine/package/types.ts';
import { availableKernels, RuntimeVerification } from '../../engine/runtime/verification.ts';
import { type BlockWithSameCodes, runBlockWithSameCodes } from './agreement-blocks.ts';
import {
  dequantizeTokens,
  differences,
  maskedSums,
  multiply,
  quantizeTokens,
  relativeError,
  residualSums,
  scaleColumns,
} from './agreement-plain.ts';

/** The largest value seen, and where. */
export class Worst {
  value = 0;
  where = '';

  add(value: number, where: string): void {
    if (!(value > this.value)) return;
    this.value = value;
    this.where = where;
  }
}

export interface StepResults {
  /** Kernel variants that ran. */
  kernels: KernelName[];
  /** Integers that were compared, over all kernels. */
  integers: number;
  /** Of them, those that differ from the plain sums over the codes. */
  integerDifferences: Worst;
  /** Codes x̂ and scales s that differ from the plain rounding of the same input, over all kernels. */
  activationDifferences: Worst;
  /** Relative L2 error of a linear's output, by activation bits; every linear with every kernel. */
  linear: Map<ActivationBits, Worst>;
  /** Of a stage's input, given what the runtime had at the stages before it. */
  stage: Map<ActivationBits, Worst>;
  /** Of a block's output, given what the runtime had at its stages. */
  block: Map<ActivationBits, Worst>;
  /** Share of codes that fall otherwise when the float path rounds by itself. */
  flippedShare: Map<ActivationBits, number>;
}

export interface StepOptions {
  bits: readonly ActivationBits[];
  /** A window whose float-path states are fed to linears and blocks. */
  ids: Int32Array;
  /** Tokens of it, spread evenly, that the plain computations of linears take. */
  linearTokens: number;
  /** Tokens for the integers. */
  integerTokens: number;
  threads: number;
}

/**
 * Runs the window through the float path with the package's weights, at each number of activation bits, and holds every linear and every block of the
 * runtime against it, fed with the float path's own inputs.
 */
export async function compareSteps(source: PackageSource, options: StepOptions): Promise<StepResults> {
  const { bits, ids, threads } = options;
  nativeThreads.setThreadCount(threads);
  const engine = await createFloatEngine(source.asModelSource(), { threads });
  const runtimes = new Map(availableKernels().map((each) => [each, openWith(source, each)]));
  const [runtime] = runtimes.values();
  const results: StepResults = {
    kernels: [...runtimes.keys()],
    integers: 0,
    integerDifferences: new Worst(),
    activationDifferences: new Worst(),
    linear: new Map(bits.map((each) => [each, new Worst()])),
    stage: new Map(bits.map((each) => [each, new Worst()])),
    block: new Map(bits.map((each) => [each, new Worst()])),
    flippedShare: new Map(),
  };
  try {
    const runner = await engine.blockRunner(ids.length);
    const states = new Map(bits.map((each) => [each, engine.embed(ids)]));
    const flips = new Map(bits.map((each) => [each, { flipped: 0, codes: 0 }]));
    for (const block of source.architecture.blocks) {
      const { weights, columnScales } = source.dequantizedBlock(block.index);
      for (const activationBits of bits) {
        const hidden = states.get(activationBits)!;
        const run = { activationBits, activationScales: source.activationScales, columnScales };
        const float = await runner.forwardWithTaps(block.index, weights, hidden, {
          ...run,
          inputs: block.stages.map(({ name }) => name),
        });
        compareLinears(source, runtime!, block, float.inputs, activationBits, options, results);
        for (const [kernels, each] of runtimes)
          await compareBlock(
            {
              ...{ runtime: each, kernels, runner, block, weights, columnScales, activationBits },
              ...{ packedHidden: hidden, floatHidden: hidden },
            },
            source.activationScales,
            results,
            flips.get(activationBits)!,
          );
        states.set(activationBits, float.hidden);
      }
    }
    for (const [each, { flipped, codes }] of flips)
      if (each !== 16) results.flippedShare.set(each, flipped / codes);
    return results;
  } finally {
    for (const each of runtimes.values()) each.close();
    await engine.close();
  }
}

/** The runtime with one kernel variant: a block takes no other than that it was opened with. */
function openWith(source: PackageSource, kernels: KernelName): RuntimeVerification {
  const before = process.env.DBELL_FORCE_ISA;
  process.env.DBELL_FORCE_ISA = kernels;
  try {
    return new RuntimeVerification(source);
  } finally {
    if (before === undefined) delete process.env.DBELL_FORCE_ISA;
    else process.env.DBELL_FORCE_ISA = before;
  }
}

function compareLinears(
  source: PackageSource,
  runtime: RuntimeVerification,
  block: Block,
  inputs: Partial<Record<StageName, Float32Array>>,
  activationBits: ActivationBits,
  options: StepOptions,
  results: StepResults,
): void {
  for (const stage of block.stages)
    for (const { name, inFeatures } of stage.linears) {
      const linear = source.readLinear(name);
      const x = spreadRows(inputs[stage.name]!, inFeatures, options.linearTokens);
      const scaled = scaleColumns(x, linear.columnScale);
      const rounded =
        activationBits === 16
          ? null
          : quantizeTokens(scaled, inFeatures, activationBits, source.activationScales);
      const expected = multiply(rounded ? dequantizeTokens(rounded, inFeatures) : scaled, linear);
      const values = rounded ? rounded.values.subarray(0, options.integerTokens * inFeatures) : null;
      const sums = values ? maskedSums(values, linear) : null;
      const residual = linear.layout === 'grid' ? linear.residual : null;
      const extraSums = values && residual ? residualSums(values, linear, residual) : null;
      for (const kernels of results.kernels) {
        const where = `${name}, ${kernels}`;
        const y = runtime.linearForward(name, x, activationBits, kernels);
        results.linear.get(activationBits)!.add(relativeError(y, expected), where);
        if (!rounded || !values || !sums) continue;
        const actual = runtime.quantizeActivations(name, x, activationBits, kernels);
        results.activationDifferences.add(
          differences(actual.values, rounded.values) + differences(actual.scales, rounded.scales),
          `${where}, A${activationBits}`,
        );
        const actualSums = runtime.maskedSums(name, values, kernels);
        results.integers += sums.length;
        results.integerDifferences.add(differences(actualSums, sums), `${where}, A${activationBits}`);
        if (!extraSums) continue;
        const actualExtraSums = runtime.residualSums(name, values, kernels);
        results.integers += extraSums.length;
        results.integerDifferences.add(
          differences(actualExtraSums, extraSums),
          `${where}, residual columns, A${activationBits}`,
        );
      }
    }
}

interface BlockComparison extends BlockWithSameCodes {
  kernels: KernelName;
}

/** Holds stages and output of a block against the float path's, which enters each stage with the runtime's x̂. */
async function compareBlock(
  comparison: BlockComparison,
  activationScales: ActivationScales,
  results: StepResults,
  flips: { flipped: number; codes: number },
): Promise<void> {
  const { kernels, block, activationBits } = comparison;
  const { index } = block;
  const { packed, float } = await runBlockWithSameCodes(
    comparison,
    (stage, packedInput, floatInput, values) => {
      results.stage
        .get(activationBits)!
        .add(relativeError(packedInput, floatInput), `block ${index}, ${stage.name}, ${kernels}`);
      if (!values) return;
      const { inFeatures } = stage.linears[0]!;
      const rounded = quantizeTokens(floatInput, inFeatures, activationBits, activationScales);
      flips.flipped += differences(values, rounded.values);
      flips.codes += values.length;
    },
  );
  results.block.get(activationBits)!.add(relativeError(packed, float), `block ${index}, ${kernels}`);
}

/** `count` rows spread evenly over `[rows, width]`, first and last among them. */
function spreadRows(x: Float32Array, width: number, count: number): Float32Array {
  const rows = x.length / width;
  if (count >= rows) return x;
  const result = new Float32Array(count * width);
  for (let row = 0; row < count; row++) {
    const from = Math.round((row * (rows - 1)) / Math.max(1, count - 1));
    result.set(x.subarray(from * width, (from + 1) * width), row * width);
  }
  return result;
}
