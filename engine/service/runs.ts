import path from 'node:path';
import type { JsonObject } from '../contract/common.ts';
import type { RunKind } from '../contract/history.ts';
import type { BenchmarkResult, PerplexityResult } from '../contract/measurement.ts';
import type { LayerReport, QuantizeInput, QuantizeResult } from '../contract/quantization.ts';

/** A run as it begins. */
export interface RunBeginning {
  runId: string;
  kind: RunKind;
  createdAt: string;
  modelPath: string;
  modelFingerprint: string | null;
  recipe: string | null;
  activationBits: number | null;
  settings: JsonObject;
}

/** What was measured. */
export interface RunFacts {
  metrics: Record<string, number>;
  /** Whole results by kind. */
  results: JsonObject;
}

/** What a finished run came to, and what became known on the way. */
export interface RunOutcome extends RunFacts {
  layers: LayerReport[];
  artifacts: { kind: string; path: string; bytes: number | null }[];
  modelFingerprint: string | null;
  activationBits: number | null;
}

/** Enough to write down the end of a run whose service was killed just before it could. */
export interface UnfinishedRun {
  runId: string;
  createdAt: string;
  modelPath: string;
  input: QuantizeInput;
}

/** Any plain value as JSON: what JSON cannot hold becomes null or is left out. */
export function toJson(value: object): JsonObject {
  return JSON.parse(JSON.stringify(value)) as JsonObject;
}

/** Name of a model as people know it: its folder or file; a folder called `hf` or the like says more with its parent. */
export function modelName(modelPath: string): string {
  const name = path.basename(modelPath);
  return /^(hf.*|model|snapshot.*|[0-9a-f]{40})$/i.test(name)
    ? path.join(path.basename(path.dirname(modelPath)), name)
    : name;
}

/** Numbers only: an infinite or missing figure is no metric. */
function finite(values: Record<string, number | null | undefined>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, number] => Number.isFinite(entry[1])),
  );
}

export function quantizationMetrics(result: Omit<QuantizeResult, 'perplexity' | 'benchmark'>) {
  return finite({
    storedBitsPerWeight: result.storedBitsPerWeight,
    bytes: result.bytes,
    sourceBytes: result.sourceBytes,
    meanRelativeError: result.meanRelativeError,
    durationMs: result.durationMs,
    peakRssBytes: result.peakRssBytes,
    resumedTimes: result.resumedTimes,
  });
}

export function perplexityMetrics(result: Omit<PerplexityResult, 'runId'>) {
  return finite({
    perplexity: result.perplexity,
    perplexityTokens: result.tokens,
    perplexityContext: result.context,
  });
}

export function benchmarkMetrics(result: Omit<BenchmarkResult, 'runId'>) {
  const first = (values: Record<string, number>) =>
    values[Object.keys(values).sort((a, b) => Number(a) - Number(b))[0] ?? ''];
  return finite({
    prefillTokensPerSecond: first(result.prefillTokensPerSecond),
    decodeTokensPerSecond: first(result.decodeTokensPerSecond),
    timeToFirstTokenMs: result.timeToFirstTokenMs,
    tokenLatencyP50Ms: result.tokenLatencyMs.p50,
    tokenLatencyP95Ms: result.tokenLatencyMs.p95,
    tokenLatencyP99Ms: result.tokenLatencyMs.p99,
    loadMs: result.loadMs,
    runtimePeakRssBytes: result.peakRssBytes,
    modelBytes: result.modelBytes,
    baselineDecodeTokensPerSecond: result.baseline ? first(result.baseline.decodeTokensPerSecond) : undefined,
    baselinePeakRssBytes: result.baseline?.peakRssBytes,
  });
}
