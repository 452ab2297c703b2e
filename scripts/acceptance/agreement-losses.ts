/** Packed runtime against float path, end to end on one package: logits and mean losses. */
import { createFloatEngine } from '../../engine/float/engine.ts';
import { createFloatTextModel } from '../../engine/float/text-model.ts';
import type { ActivationBits, ColumnScales } from '../../engine/float/types.ts';
import type { ModelSource } from '../../engine/model/source.ts';
import type { TextModel } from '../../engine/model/text-model.ts';
import { threads as nativeThreads } from '../../engine/native/index.ts';
import type { PackageSource } from '../../engine/package/types.ts';
import { createPackedTextModel } from '../../engine/runtime/packed-text-model.ts';
import { RuntimeVerification } from '../../engine/runtime/verification.ts';
import { runBlockWithSameCodes } from './agreement-blocks.ts';
import { Worst } from './agreement-checks.ts';
import { relativeError } from './agreement-plain.ts';

/** The package on the float path: dequantized weights, the package's tables, the head's input as the packed runtime has it. */
function floatModelOf(
  source: PackageSource,
  activationBits: ActivationBits,
  threads: number,
  tables: ModelSource = source.asModelSource(),
): Promise<TextModel> {
  let last: { index: number; block: ReturnType<PackageSource['dequantizedBlock']> } | null = null;
  const blockAt = (index: number) => {
    if (last?.index !== index) last = { index, block: source.dequantizedBlock(index) };
    return last.block;
  };
  const columnScales = new Map<number, ColumnScales>();
  return createFloatTextModel(tables, {
    threads,
    activationBits,
    activationScales: source.activationScales,
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

/** How far one computation's mean losses (nats) are from another's. */
export interface LossDifference {
  /** Mean of the differences, with their sign. */
  difference: number;
  /** Its standard error, from the spread over windows: rounding flips make the difference of a window random. */
  standardError: number;
}

export interface LossComparison extends LossDifference {
  packedMeanLoss: number;
  floatMeanLoss: number;
  /** Scored positions. */
  tokens: number;
  /**
   * The float path with its embeddings moved by one unit in the last place, against the float path, over the same windows: what no implementation can be closer
   * than. Only where all windows together don't make the difference as sure as was asked; else null.
   */
  control: LossDifference | null;
}

export interface LossStop {
  /** Scored positions to take at least. */
  tokens: number;
  /** From there on windows are added until the difference's standard error, in nats, is this small, or until there are no more. */
  standardError: number;
}

/**
 * Mean losses (nats) of all positions but the first of each window: packed minus float. How many windows are taken depends on the spread of the differences alone,
 * never on their mean, so that stopping favours no outcome.
 */
export async function compareLosses(
  source: PackageSource,
  windows: Windows,
  activationBits: ActivationBits,
  threads: number,
  stop: LossStop,
): Promise<LossComparison> {
  const [packedMeans, floatMeans, differences]: [number[], number[], number[]] = [[], [], []];
  const tokens = () => differences.length * (windows.context - 1);
  await withBoth(source, activationBits, threads, async (packed, float) => {
    const sessions = [await packed.createSession(), await float.createSession()];
    for (let window = 0; window < windows.windowCount; window++) {
      if (tokens() >= stop.tokens && standardErrorOf(differences) <= stop.standardError) break;
      const ids = windowIds(windows, window);
      packedMeans.push(mean(await sessions[0]!.tokenLosses(ids)));
      floatMeans.push(mean(await sessions[1]!.tokenLosses(ids)));
      differences.push(packedMeans.at(-1)! - floatMeans.at(-1)!);
    }
    for (const session of sessions) session.close();
  });
  const compared = differenceOf(differences);
  return {
    packedMeanLoss: mean(packedMeans),
    floatMeanLoss: mean(floatMeans),
    ...compared,
    tokens: tokens(),
    control:
      compared.standardError <= stop.standardError
        ? null
        : await controlLosses(source, windows, activationBits, threads, floatMeans),
  };
}

/** The float path from slightly other embeddings, against its own means of each window. */
async function controlLosses(
  source: PackageSource,
  windows: Windows,
  activationBits: ActivationBits,
  threads: number,
  floatMeans: readonly number[],
): Promise<LossDifference> {
  const moved = withMovedEmbeddings(source.asModelSource());
  const model = await floatModelOf(source, activationBits, threads, moved);
  try {
    const session = await model.createSession();
    const differences: number[] = [];
    for (const [window, floatMean] of floatMeans.entries())
      differences.push(mean(await session.tokenLosses(windowIds(windows, window))) - floatMean);
    session.close();
    return differenceOf(differences);
  } finally {
    await model.close();
  }
}

/** The source with every value of the embedding table moved to a neighbouring float32, up and down in an order that is always the same. */
export function withMovedEmbeddings(source: ModelSource): ModelSource {
  const { table } = source.architecture.embedding;
  const readRowsFloat32: ModelSource['readRowsFloat32'] = (name, begin, count, into) => {
    const rows = source.readRowsFloat32(name, begin, count, into);
    if (name !== table) return rows;
    const bits = new Int32Array(rows.buffer, rows.byteOffset, rows.length);
    const first = begin * (rows.length / count);
    for (let index = 0; index < bits.length; index++)
      if (rows[index] !== 0) bits[index]! += Math.imul(first + index, 0x9e3779b1) < 0 ? -1 : 1;
    return rows;
  };
  return new Proxy(source, {
    get(target, key) {
      if (key === 'readRowsFloat32') return readRowsFloat32;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/**
 * Mean losses (nats), packed minus float, where the float path goes through the whole model on its own states but takes the runtime's x̂ at every stage, so that no
 * code falls otherwise on one side; the head is the float path's on both sides. Over the first windows that hold `tokens` scored positions.
 */
export async function compareLossesWithSameCodes(
  source: PackageSource,
  windows: Windows,
  activationBits: ActivationBits,
  threads: number,
  tokens: number,
): Promise<LossDifference & { tokens: number }> {
  nativeThreads.setThreadCount(threads);
  const { context } = windows;
  const windowCount = Math.min(windows.windowCount, Math.ceil(tokens / (context - 1)));
  const engine = await createFloatEngine(source.asModelSource(), { threads });
  const runtime = new RuntimeVerification(source);
  try {
    const runner = await engine.blockRunner(context);
    const states = Array.from({ length: windowCount }, (_, window) => {
      const hidden = engine.embed(windowIds(windows, window));
      return { packed: hidden, float: hidden };
    });
    for (const block of source.architecture.blocks) {
      const { weights, columnScales } = source.dequantizedBlock(block.index);
      const common = { runtime, runner, block, weights, columnScales, activationBits };
      for (const [window, { packed, float }] of states.entries())
        states[window] = await runBlockWithSameCodes({
          ...common,
          packedHidden: packed,
          floatHidden: float,
        });
    }
    const differences: number[] = [];
    for (const [window, { packed, float }] of states.entries()) {
      const ids = windowIds(windows, window);
      differences.push(
        mean(await engine.tokenLosses(packed, ids)) - mean(await engine.tokenLosses(float, ids)),
      );
    }
    return { ...differenceOf(differences), tokens: windowCount * (context - 1) };
  } finally {
    runtime.close();
    await engine.close();
  }
}

function windowIds({ ids, context }: Windows, window: number): Int32Array {
  return ids.subarray(window * context, (window + 1) * context);
}

function differenceOf(differences: readonly number[]): LossDifference {
  return { difference: mean(differences), standardError: standardErrorOf(differences) };
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
