/**
 * Packed runtime against float path, on one package: integers, linears, blocks, and end to end. Nothing here says what is good enough; items/agreement.ts does.
 */
import { createFloatEngine } from '../../engine/float/engine.ts';
import { createFloatTextModel } from '../../engine/float/text-model.ts';
import type { ActivationBits, BlockRunner, BlockWeights, ColumnScales } from '../../engine/float/types.ts';
import type { Block, StageName } from '../../engine/model/architecture.ts';
import type { TextModel } from '../../engine/model/text-model.ts';
import { threads as nativeThreads } from '../../engine/native/index.ts';
import type { KernelName } from '../../engine/native/runtime.ts';
import type { PackageSource } from '../../engine/package/types.ts';
import { createPackedTextModel } from '../../engine/runtime/packed-text-model.ts';
import { availableKernels, RuntimeVerification } from '../../engine/runtime/verification.ts';
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
        const run = { activationBits, columnScales };
        const float = await runner.forwardWithTaps(block.index, weights, hidden, {
          ...run,
          inputs: block.stages.map(({ name }) => name),
        });
        compareLinears(source, runtime!, block, float.inputs, activationBits, options, results);
        for (const [kernels, each] of runtimes)
          await compareBlock(
            { runtime: each, kernels, runner, block, weights, columnScales, hidden, activationBits },
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
      const rounded = activationBits === 16 ? null : quantizeTokens(scaled, inFeatures, activationBits);
      const expected = multiply(rounded ? dequantizeTokens(rounded) : scaled, linear);
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

interface BlockComparison {
  runtime: RuntimeVerification;
  kernels: KernelName;
  runner: BlockRunner;
  block: Block;
  weights: BlockWeights;
  columnScales: ColumnScales;
  hidden: Float32Array;
  activationBits: ActivationBits;
}

/**
 * Goes through the block stage by stage on the float path, but enters each stage with the x̂ that the runtime had there, so that a code on the border between two
 * integers, which may fall either way, doesn't hide or excuse anything: what is compared is computed from equal x̂ on both sides.
 */
async function compareBlock(
  { runtime, kernels, runner, block, weights, columnScales, hidden, activationBits }: BlockComparison,
  results: StepResults,
  flips: { flipped: number; codes: number },
): Promise<void> {
  const { index } = block;
  const packed = runtime.blockStages(index, hidden, activationBits);
  const state: Parameters<BlockRunner['enterStage']>[3] = { hidden };
  const unrounded = { activationBits: 16 as const, columnScales };
  for (const [number, stage] of block.stages.entries()) {
    await runner.enterStage(index, stage.name, weights, state, unrounded);
    const floatInput = state.stageInput!;
    const x = packed.stageInputs[number]!;
    const packedInput = scaleColumns(x, columnScales[stage.name] ?? null);
    results.stage
      .get(activationBits)!
      .add(relativeError(packedInput, floatInput), `block ${index}, ${stage.name}, ${kernels}`);
    if (activationBits === 16) continue;
    const { name, inFeatures } = stage.linears[0]!;
    const actual = runtime.quantizeActivations(name, x, activationBits);
    flips.flipped += differences(
      actual.values,
      quantizeTokens(floatInput, inFeatures, activationBits).values,
    );
    flips.codes += actual.values.length;
    state.stageInput = dequantizeTokens(actual);
  }
  const out = await runner.leaveBlock(index, weights, state, unrounded);
  results.block.get(activationBits)!.add(relativeError(packed.hidden, out), `block ${index}, ${kernels}`);
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

/** The package on the float path: dequantized weights, the package's tables, the head's input as the packed runtime has it. */
export function floatModelOf(
  source: PackageSource,
  activationBits: ActivationBits,
  threads: number,
): Promise<TextModel> {
  let last: { index: number; block: ReturnType<PackageSource['dequantizedBlock']> } | null = null;
  const blockAt = (index: number) => {
    if (last?.index !== index) last = { index, block: source.dequantizedBlock(index) };
    return last.block;
  };
  const columnScales = new Map<number, ColumnScales>();
  return createFloatTextModel(source.asModelSource(), {
    threads,
    activationBits,
    headActivationBits: source.head.bits === 16 ? 16 : 8,
    weights: 'resident',
    blockWeights: (index) => {
      const block = blockAt(index);
      columnScales.set(index, block.columnScales);
      return block.weights;
    },
    columnScales: (index) => columnScales.get(index),
  });
}

async function withBoth<T>(
  source: PackageSource,
  activationBits: ActivationBits,
  threads: number,
  use: (packed: TextModel, float: TextModel) => Promise<T>,
): Promise<T> {
  const packed = await createPackedTextModel(source, { threads, activationBits });
  const float = await floatModelOf(source, activationBits, threads);
  try {
    return await use(packed, float);
  } finally {
    await float.close();
    await packed.close();
  }
}

/** Windows one after another, `[windowCount, context]`. */
export interface Windows {
  ids: Int32Array;
  windowCount: number;
  context: number;
}

/**
 * Largest relative L2 error of a window's logits with unrounded activations; logits after every `step` tokens, so that prompts in pieces and the caches are on the way.
 */
export function compareLogits(
  source: PackageSource,
  windows: Windows,
  step: number,
  threads: number,
): Promise<{ worst: Worst; rows: number; kernelPath: string }> {
  return withBoth(source, 16, threads, async (packed, float) => {
    const worst = new Worst();
    let rows = 0;
    for (let window = 0; window < windows.windowCount; window++) {
      const [a, b] = [await packed.createSession(), await float.createSession()];
      const [logits, expected]: [number[], number[]] = [[], []];
      for (let begin = 0; begin < windows.context; begin += step) {
        const first = window * windows.context + begin;
        const piece = windows.ids.subarray(first, first + Math.min(step, windows.context - begin));
        for (const logit of await a.feed(piece)) logits.push(logit);
        for (const logit of await b.feed(piece)) expected.push(logit);
        rows++;
      }
      worst.add(relativeError(logits, expected), `window ${window}`);
      a.close();
      b.close();
    }
    return { worst, rows, kernelPath: packed.kernelPath };
  });
}

export interface LossComparison {
  packedMeanLoss: number;
  floatMeanLoss: number;
  /** Mean of packed minus float losses. */
  difference: number;
  /** Its standard error, from the spread over windows: rounding flips make the difference of a window random. */
  standardError: number;
  /** Scored positions. */
  tokens: number;
}

export interface LossStop {
  /** Scored positions to take at least. */
  tokens: number;
  /** From there on windows are added until the difference's standard error, in nats, is this small, or until there are no more. */
  standardError: number;
}

/**
 * Mean losses (nats) of all positions but the first of each window. How many windows are taken depends on the spread of the differences alone, never on their
 * mean, so that stopping favours no outcome.
 */
export function compareLosses(
  source: PackageSource,
  windows: Windows,
  activationBits: ActivationBits,
  threads: number,
  stop: LossStop,
): Promise<LossComparison> {
  return withBoth(source, activationBits, threads, async (packed, float) => {
    const sessions = [await packed.createSession(), await float.createSession()];
    const [packedMeans, floatMeans, differences]: [number[], number[], number[]] = [[], [], []];
    const tokens = () => differences.length * (windows.context - 1);
    for (let window = 0; window < windows.windowCount; window++) {
      if (tokens() >= stop.tokens && standardErrorOf(differences) <= stop.standardError) break;
      const ids = windows.ids.subarray(window * windows.context, (window + 1) * windows.context);
      packedMeans.push(mean(await sessions[0]!.tokenLosses(ids)));
      floatMeans.push(mean(await sessions[1]!.tokenLosses(ids)));
      differences.push(packedMeans.at(-1)! - floatMeans.at(-1)!);
    }
    for (const session of sessions) session.close();
    return {
      packedMeanLoss: mean(packedMeans),
      floatMeanLoss: mean(floatMeans),
      difference: mean(differences),
      standardError: standardErrorOf(differences),
      tokens: tokens(),
    };
  });
}

function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let index = 0; index < values.length; index++) sum += values[index]!;
  return sum / values.length;
}

/** Of the mean of independent values: sample deviation / √n; infinite below two values. */
function standardErrorOf(values: readonly number[]): number {
  if (values.length < 2) return Number.POSITIVE_INFINITY;
  const centre = mean(values);
  const variance = values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (values.length - 1);
  return Math.sqrt(variance / values.length);
}
