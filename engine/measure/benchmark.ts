import type { JsonObject } from '../contract/common.ts';
import { DBellError } from '../contract/errors.ts';
import type { SentStage } from '../contract/jobs.ts';
import type { BenchmarkSubject, MemoryBandwidth } from '../contract/measurement.ts';
import { nextToken, predict } from '../model/next-token.ts';
import { createSampler } from '../model/sampling.ts';
import { SeededRandom } from '../model/seeded-random.ts';
import { bandwidthShares } from './bandwidth-share.ts';
import {
  machineConditions,
  momentaryConditions,
  othersBusyShare,
  processorTimes,
  stolenShare,
} from './conditions.ts';
import type { MeasuredModel, MeasuredSession } from './measured-model.ts';
import { processMemory } from './memory.ts';
import { judgeStability } from './stability.ts';
import { median, percentile } from './statistics.ts';

export interface BenchmarkSettings {
  threads: number;
  /** Prefill lengths in tokens. Those beyond the model's context are left out and named in the result. */
  promptTokens: readonly number[];
  /** Tokens in the cache before decoding is timed. */
  decodeDepths: readonly number[];
  generateTokens: number;
  repetitions: number;
}

export interface BenchmarkControl {
  onProgress?: (progress: { stage: SentStage; step: number; stepCount: number }) => void;
  /** Awaited between measurements; may pause, and throws to stop. */
  border?: () => Promise<void>;
  /** Others are measured between the measurements: each begins with a short one that does not count, for what they pushed out of the caches. */
  warmEach?: boolean;
}

/** Decoded tokens and prefilled tokens before anything is timed: pages are touched, threads awake, code compiled. */
const warmUp = { decodeTokens: 8, rounds: 2 };

/** How often `border` is awaited where every length fits the model: before each round of the warm-up, then before each measurement. */
export function bordersOf({
  repetitions,
  promptTokens,
  decodeDepths,
}: Pick<BenchmarkSettings, 'repetitions' | 'promptTokens' | 'decodeDepths'>): {
  warmUp: number;
  measured: number;
} {
  return { warmUp: warmUp.rounds, measured: repetitions * (promptTokens.length + decodeDepths.length) };
}
/** Tokens of the short measurement in front of each, where others are measured between. */
const warmEachTokens = { prompt: 16, decode: 4 };
/** How long the other programs' work is watched before a model is loaded. */
const watchMs = 500;
const promptSeed = 20240501;
const greedy = createSampler({ kind: 'greedy' });

interface Measurements {
  /** Of the first prefill after loading. */
  firstOfAllMs: number;
  prefill: Map<number, number[]>;
  firstToken: Map<number, number[]>;
  decode: Map<number, number[]>;
  /** Of every decoded token, by depth. */
  latencies: Map<number, number[]>;
  /** By the device's clock, where it tells. */
  prefillKernels: Map<number, number[]>;
  decodeKernels: Map<number, number[]>;
}

/**
 * Measures a model: loads it, warms up, then `repetitions` times each prefill length and each decode depth, all of one repetition before the next, so that
 * a drift of the machine spreads over all figures. Prompts are seeded random ids; decoding is greedy and does not stop at an end-of-text id.
 *
 * Speeds and the time to the first token (prefill of the first length, and choosing the token) are medians over the repetitions, latencies are percentiles over all decoded tokens.
 * Peak memory is the process's: run each subject in a fresh process. `open` loads the model; `modelBytes` are its bytes on disk. The model is closed at
 * the end. Throws DBellError `invalid-input` where no length or depth fits the model.
 */
export async function runBenchmark(
  open: () => Promise<MeasuredModel>,
  modelBytes: number,
  settings: BenchmarkSettings,
  control: BenchmarkControl = {},
): Promise<Omit<BenchmarkSubject, 'model'>> {
  const before = momentaryConditions();
  const watchedFrom = processorTimes();
  await new Promise((resolve) => setTimeout(resolve, watchMs));
  const startedAt = processorTimes();
  const memoryBefore = processMemory();
  control.onProgress?.({ stage: 'load', step: 0, stepCount: 1 });
  const loadStartedAt = performance.now();
  const model = await open();
  const loadMs = performance.now() - loadStartedAt;
  try {
    const plan = planLengths(model, settings);
    const contextLength = Math.max(
      ...plan.promptTokens,
      ...plan.decodeDepths.map((depth) => depth + settings.generateTokens),
    );
    const bandwidth = await deviceBandwidth(model);
    const session = await model.createSession({ contextLength });
    let measurements: Measurements;
    let cacheBytes: number;
    try {
      measurements = await measure(model, session, plan, settings, control);
      cacheBytes = session.cacheBytes;
    } finally {
      await session.close();
    }
    const memory = processMemory();
    const after = momentaryConditions();
    const machine = machineConditions();
    const shares = {
      othersBusyShareBefore: othersBusyShare(watchedFrom, startedAt),
      stolenShare: stolenShare(startedAt, processorTimes()),
    };
    const { stable, notes } = judgeStability({
      machine,
      before,
      after,
      ...shares,
      threads: settings.threads,
      repetitions: settings.repetitions,
      speeds: new Map([
        ...[...measurements.prefill].map(
          ([length, values]) => [`prefill of ${length} tokens`, values] as const,
        ),
        ...[...measurements.decode].map(([depth, values]) => [`decode at depth ${depth}`, values] as const),
      ]),
    });
    const latencies = [...measurements.latencies.values()].flat();
    const conditions = {
      machine,
      before,
      after,
      ...shares,
      threads: settings.threads,
      repetitions: settings.repetitions,
      generateTokens: settings.generateTokens,
      omittedPromptTokens: plan.omittedPromptTokens,
      omittedDecodeDepths: plan.omittedDecodeDepths,
      prefillRepetitionsTokensPerSecond: Object.fromEntries(measurements.prefill),
      decodeRepetitionsTokensPerSecond: Object.fromEntries(measurements.decode),
      timeToFirstTokenMs: byKey(measurements.firstToken, median),
      tokenLatencyMs: byKey(measurements.latencies, percentiles),
      processMemory: memory,
    };
    const bytesReadPerToken = Object.fromEntries(
      plan.decodeDepths.map((depth) => [depth, meanBytesRead(model, depth, settings.generateTokens)]),
    );
    const decodeTokensPerSecond = byKey(measurements.decode, median);
    return {
      prefillTokensPerSecond: byKey(measurements.prefill, median),
      decodeTokensPerSecond,
      timeToFirstTokenMs: median(measurements.firstToken.get(plan.promptTokens[0] as number) as number[]),
      tokenLatencyMs: percentiles(latencies),
      loadMs,
      openToFirstToken: {
        promptTokens: Math.min(...plan.promptTokens),
        durationMs: loadMs + measurements.firstOfAllMs,
      },
      peakRssBytes: memory.peakRssBytes,
      memoryBytes: { processBeforeLoad: memoryBefore.rssBytes, ...model.memoryBytes, kvCache: cacheBytes },
      modelBytes,
      bytesReadPerToken,
      memoryBandwidth: bandwidth,
      memoryBandwidthShare: bandwidth
        ? bandwidthShares({ decodeTokensPerSecond, bytesReadPerToken }, bandwidth)
        : {},
      deviceTimes:
        model.uploadMs === undefined
          ? null
          : {
              uploadMs: model.uploadMs,
              prefillKernelMs: mediansOf(measurements.prefillKernels),
              decodeKernelMs: mediansOf(measurements.decodeKernels),
            },
      device: model.device,
      kernelPath: model.kernelPath,
      ...(model.layerPaths ? { layerPaths: [...model.layerPaths] } : {}),
      activationBits: model.activationBits,
      ...(model.activationScales && { activationScales: model.activationScales }),
      ...(model.keyValueCache && { keyValueCache: model.keyValueCache }),
      stable,
      stabilityNotes: notes,
      // Plain data throughout; the type cannot be seen through interfaces.
      conditions: conditions as unknown as JsonObject,
    };
  } finally {
    await model.close();
  }
}

/** Of the tokens decoded one after the other from `depth` on, whole bytes. */
function meanBytesRead(model: MeasuredModel, depth: number, generateTokens: number): Record<string, number> {
  const sums: Record<string, number> = {};
  for (let token = 0; token < generateTokens; token++)
    for (const [name, bytes] of Object.entries(model.bytesReadPerToken(depth + token)))
      sums[name] = (sums[name] ?? 0) + bytes / generateTokens;
  return Object.fromEntries(Object.entries(sums).map(([name, bytes]) => [name, Math.round(bytes)]));
}

/** How fast a device moves its own memory, for the share that decoding reaches; null for the processor, whose memory is measured in a process of its own. */
async function deviceBandwidth(model: MeasuredModel): Promise<MemoryBandwidth | null> {
  const measured = await model.measureBandwidth?.();
  if (!measured) return null;
  return {
    ...measured,
    method: `a buffer of the device copied to another, bytes read and written together, the shortest of ${measured.passes} passes`,
    threads: 0,
    lastLevelCacheBytes: null,
  };
}

/** Of what was told at all. */
function mediansOf(lists: ReadonlyMap<number, number[]>): Record<string, number> {
  return byKey(new Map([...lists].filter(([, values]) => values.length > 0)), median);
}

interface Plan {
  promptTokens: number[];
  decodeDepths: number[];
  omittedPromptTokens: number[];
  omittedDecodeDepths: number[];
}

/**
 * The lengths that a context of so many tokens takes, and those that are left out. Throws DBellError `invalid-input` where none fits.
 */
export function planLengths(
  { contextLength }: Pick<MeasuredModel, 'contextLength'>,
  settings: Pick<BenchmarkSettings, 'promptTokens' | 'decodeDepths' | 'generateTokens'>,
): Plan {
  const fitsPrompt = (length: number) => length >= 1 && length <= contextLength;
  const fitsDepth = (depth: number) => depth >= 0 && depth + settings.generateTokens <= contextLength;
  const plan = {
    promptTokens: settings.promptTokens.filter(fitsPrompt),
    decodeDepths: settings.decodeDepths.filter(fitsDepth),
    omittedPromptTokens: settings.promptTokens.filter((length) => !fitsPrompt(length)),
    omittedDecodeDepths: settings.decodeDepths.filter((depth) => !fitsDepth(depth)),
  };
  if (plan.promptTokens.length === 0)
    throw new DBellError(
      'invalid-input',
      `none of the prompt lengths ${settings.promptTokens.join(', ')} fits the model's context length ${contextLength}`,
    );
  if (plan.decodeDepths.length === 0)
    throw new DBellError(
      'invalid-input',
      `none of the depths ${settings.decodeDepths.join(', ')} with ${settings.generateTokens} generated tokens fits the model's context length ${contextLength}`,
    );
  return plan;
}

async function measure(
  model: MeasuredModel,
  session: MeasuredSession,
  plan: Plan,
  settings: BenchmarkSettings,
  control: BenchmarkControl,
): Promise<Measurements> {
  const random = new SeededRandom(promptSeed);
  const randomIds = (count: number) =>
    Int32Array.from({ length: count }, () => Math.floor(random.nextDouble() * model.vocabularySize));
  let firstOfAllMs = 0;
  for (let round = 0; round < warmUp.rounds; round++) {
    await control.border?.();
    control.onProgress?.({ stage: 'warm up', step: round, stepCount: warmUp.rounds });
    const { firstTokenMs } = await timePrefill(session, randomIds(Math.min(...plan.promptTokens)));
    if (round === 0) firstOfAllMs = firstTokenMs;
    await timeDecode(session, randomIds(1), Math.min(warmUp.decodeTokens, settings.generateTokens));
  }
  const measurements: Measurements = {
    firstOfAllMs,
    prefill: emptyLists(plan.promptTokens),
    firstToken: emptyLists(plan.promptTokens),
    decode: emptyLists(plan.decodeDepths),
    latencies: emptyLists(plan.decodeDepths),
    prefillKernels: emptyLists(plan.promptTokens),
    decodeKernels: emptyLists(plan.decodeDepths),
  };
  const stepCount = settings.repetitions * (plan.promptTokens.length + plan.decodeDepths.length);
  let step = 0;
  for (let repetition = 0; repetition < settings.repetitions; repetition++) {
    for (const length of plan.promptTokens) {
      await control.border?.();
      control.onProgress?.({ stage: `prefill ${length}`, step: step++, stepCount });
      if (control.warmEach) await timePrefill(session, randomIds(Math.min(warmEachTokens.prompt, length)));
      const { prefillMs, firstTokenMs } = await timePrefill(session, randomIds(length));
      measurements.prefill.get(length)?.push((length / prefillMs) * 1000);
      measurements.firstToken.get(length)?.push(firstTokenMs);
      if (session.kernelMs != null) measurements.prefillKernels.get(length)?.push(session.kernelMs);
    }
    for (const depth of plan.decodeDepths) {
      await control.border?.();
      control.onProgress?.({ stage: `decode at ${depth}`, step: step++, stepCount });
      if (control.warmEach)
        await timeDecode(session, randomIds(1), Math.min(warmEachTokens.decode, settings.generateTokens));
      await session.reset();
      if (depth > 0) await session.feed(randomIds(depth));
      const kernels = measurements.decodeKernels.get(depth) as number[];
      const latencies = await decodeTokens(session, randomIds(1), settings.generateTokens, kernels);
      const totalMs = latencies.reduce((sum, latency) => sum + latency, 0);
      measurements.decode.get(depth)?.push((latencies.length / totalMs) * 1000);
      measurements.latencies.get(depth)?.push(...latencies);
    }
  }
  return measurements;
}

/** Prefill of an empty cache: time of the pass, and of the pass and choosing the next token. */
async function timePrefill(
  session: MeasuredSession,
  ids: Int32Array,
): Promise<{ prefillMs: number; firstTokenMs: number }> {
  await session.reset();
  const startedAt = performance.now();
  const choose = await predict(session, ids, greedy);
  const prefillMs = performance.now() - startedAt;
  await choose();
  return { prefillMs, firstTokenMs: performance.now() - startedAt };
}

async function timeDecode(session: MeasuredSession, first: Int32Array, count: number): Promise<number[]> {
  await session.reset();
  return decodeTokens(session, first, count);
}

/** Milliseconds of each of `count` tokens: one pass and choosing the next token. What the device's clock says of each goes to `kernels`. */
async function decodeTokens(
  session: MeasuredSession,
  first: Int32Array,
  count: number,
  kernels: number[] = [],
): Promise<number[]> {
  const latencies: number[] = [];
  let next = first;
  for (let token = 0; token < count; token++) {
    const startedAt = performance.now();
    next = Int32Array.of(await nextToken(session, next, greedy));
    latencies.push(performance.now() - startedAt);
    if (session.kernelMs != null) kernels.push(session.kernelMs);
  }
  return latencies;
}

function percentiles(latencies: readonly number[]): { p50: number; p95: number; p99: number } {
  return {
    p50: percentile(latencies, 50),
    p95: percentile(latencies, 95),
    p99: percentile(latencies, 99),
  };
}

function emptyLists(keys: readonly number[]): Map<number, number[]> {
  return new Map(keys.map((key) => [key, []]));
}

function byKey<T>(lists: Map<number, number[]>, of: (values: number[]) => T): Record<string, T> {
  return Object.fromEntries([...lists].map(([key, values]) => [String(key), of(values)]));
}
