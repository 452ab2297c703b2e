import type { JsonObject } from '../contract/common.ts';
import { sumOfBytes } from '../contract/itemised-bytes.ts';
import type { BenchmarkResult, PerplexityResult } from '../contract/measurement.ts';
import type { QualityResult } from '../contract/quality.ts';
import type { Quantized } from '../contract/quantization.ts';
import type { SubjectIdentity } from './work-protocol.ts';

/** Any plain value as JSON: what JSON cannot hold becomes null or is left out. */
export function toJson(value: object): JsonObject {
  return JSON.parse(JSON.stringify(value)) as JsonObject;
}

/** Numbers only: an infinite or missing figure is no metric. */
function finite(values: Record<string, number | null | undefined>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, number] => Number.isFinite(entry[1])),
  );
}

/** By which the history finds runs of one model and of one package. */
export function fingerprintsOf({ sourceFingerprint, packageFingerprint }: SubjectIdentity) {
  return { modelFingerprint: sourceFingerprint, packageFingerprint };
}

/** Of a measured package: what its speed or quality is to be seen against. */
export function identityMetrics({ storedBitsPerWeight }: SubjectIdentity) {
  return finite({ storedBitsPerWeight });
}

export function quantizationMetrics(result: Quantized) {
  return finite({
    storedBitsPerWeight: result.storedBitsPerWeight,
    bytes: result.bytes,
    modelBytes: result.modelBytes,
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

export function qualityMetrics(result: Omit<QualityResult, 'runId'>) {
  return finite({
    perplexity: result.perplexity,
    perplexityTokens: result.tokens,
    perplexityContext: result.context,
    originalPerplexity: result.originalPerplexity,
    perplexityRatio: result.perplexityRatio,
    topTokenAgreement: result.topTokenAgreement,
    klDivergenceNats: result.klDivergenceNats.mean,
  });
}

export function benchmarkMetrics(result: Omit<BenchmarkResult, 'runId'>) {
  const first = <T>(values: Record<string, T>): T | undefined =>
    values[Object.keys(values).sort((a, b) => Number(a) - Number(b))[0] ?? ''];
  const read = first(result.bytesReadPerToken);
  return finite({
    prefillTokensPerSecond: first(result.prefillTokensPerSecond),
    decodeTokensPerSecond: first(result.decodeTokensPerSecond),
    timeToFirstTokenMs: result.timeToFirstTokenMs,
    tokenLatencyP50Ms: result.tokenLatencyMs.p50,
    tokenLatencyP95Ms: result.tokenLatencyMs.p95,
    tokenLatencyP99Ms: result.tokenLatencyMs.p99,
    loadMs: result.loadMs,
    bytesReadPerToken: read && sumOfBytes(read),
    memoryBandwidthBytesPerSecond: result.memoryBandwidth?.bytesPerSecond,
    memoryBandwidthShare: first(result.memoryBandwidthShare),
    runtimePeakRssBytes: result.peakRssBytes,
    modelBytes: result.modelBytes,
    baselineDecodeTokensPerSecond: result.baseline ? first(result.baseline.decodeTokensPerSecond) : undefined,
    baselinePeakRssBytes: result.baseline?.peakRssBytes,
    benchmarkStable: Number(result.stable),
    baselineStable: result.baseline ? Number(result.baseline.stable) : undefined,
  });
}
