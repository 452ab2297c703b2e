import { randomUUID } from 'node:crypto';
import type { z } from 'zod';
import { toErrorPayload } from '../../contract/error-payload.ts';
import { sumOfBytes } from '../../contract/itemised-bytes.ts';
import {
  type BenchmarkInput,
  type BenchmarkResult,
  type BenchmarkSubject,
  benchmarkSettingsSchema,
  type MemoryBandwidth,
  type PerplexityInput,
} from '../../contract/measurement.ts';
import type { QualityInput } from '../../contract/quality.ts';
import { bandwidthShare } from '../../measure/bandwidth-share.ts';
import type { RunStore } from '../run-store.ts';
import {
  benchmarkMetrics,
  fingerprintsOf,
  identityMetrics,
  perplexityMetrics,
  qualityMetrics,
  toJson,
} from '../runs.ts';
import { isPackage } from '../tasks/package-detection.ts';
import type { SubjectIdentity } from '../work-protocol.ts';
import { type JobContext, type JobDefinition, readOnlySubject } from './job.ts';

/** Perplexity of one subject, remembered when it succeeded. */
export function perplexityJob(runs: RunStore, input: PerplexityInput): JobDefinition<'perplexity'> {
  const runId = input.remember ? randomUUID() : null;
  const createdAt = new Date().toISOString();
  return {
    kind: 'perplexity',
    runId,
    tasks: ['perplexity'],
    subject: readOnlySubject(input.model),
    async run({ runTask }) {
      const { identity, ...measured } = await runTask('perplexity', input);
      const result = { ...measured, runId };
      if (runId !== null) {
        runs.record(
          {
            runId,
            kind: 'perplexity',
            createdAt,
            modelPath: result.model,
            ...fingerprintsOf(identity),
            recipe: result.recipe ?? null,
            activationBits: result.activationBits,
            settings: toJson(input),
          },
          {
            metrics: { ...identityMetrics(identity), ...perplexityMetrics(result) },
            results: toJson({ perplexity: result }),
          },
        );
      }
      return result;
    },
  };
}

/** A packed model beside its original, remembered when it succeeded. */
export function qualityJob(runs: RunStore, input: QualityInput): JobDefinition<'quality'> {
  const runId = input.remember ? randomUUID() : null;
  const createdAt = new Date().toISOString();
  return {
    kind: 'quality',
    runId,
    tasks: ['quality'],
    subject: readOnlySubject(input.model, input.against),
    async run({ runTask }) {
      const { identity, ...measured } = await runTask('quality', input);
      const result = { ...measured, runId };
      if (runId !== null) {
        runs.record(
          {
            runId,
            kind: 'quality',
            createdAt,
            modelPath: result.model,
            ...fingerprintsOf(identity),
            recipe: result.recipe,
            activationBits: result.activationBits,
            settings: toJson(input),
          },
          {
            metrics: { ...identityMetrics(identity), ...qualityMetrics(result) },
            results: toJson({ quality: result }),
          },
        );
      }
      return result;
    },
  };
}

/** Benchmark of one subject, and of a baseline where one is given. */
export function benchmarkJob(
  runs: RunStore,
  { baseline, remember, ...settings }: BenchmarkInput,
): JobDefinition<'benchmark'> {
  const runId = remember ? randomUUID() : null;
  const createdAt = new Date().toISOString();
  return {
    kind: 'benchmark',
    runId,
    tasks: ['benchmark'],
    subject: readOnlySubject(settings.model, ...(baseline === undefined ? [] : [baseline])),
    async run(job) {
      const { result, identity } = await benchmarkSubjects(
        job,
        settings,
        baseline === undefined ? undefined : { model: baseline, isOptional: false },
        runId,
      );
      if (runId !== null) {
        runs.record(
          {
            runId,
            kind: 'benchmark',
            createdAt,
            modelPath: result.model,
            ...fingerprintsOf(identity),
            recipe: result.recipe ?? null,
            activationBits: result.activationBits,
            settings: toJson({ ...settings, baseline }),
          },
          {
            metrics: { ...identityMetrics(identity), ...benchmarkMetrics(result) },
            results: toJson({ benchmark: result }),
          },
        );
      }
      return result;
    },
  };
}

/**
 * One process after another: subjects that run side by side would measure each other. The memory comes first, in a process of its own, since its buffer would
 * be in a subject's peak. An optional baseline that does not fit the memory is left out, and said.
 */
export async function benchmarkSubjects(
  { runTask, message }: JobContext,
  settings: z.input<typeof benchmarkSettingsSchema>,
  baseline: { model: string; isOptional: boolean } | undefined,
  runId: string | null,
): Promise<{ result: BenchmarkResult; identity: SubjectIdentity }> {
  const complete = benchmarkSettingsSchema.parse(settings);
  const bandwidth = await runTask('memoryBandwidth', { threads: complete.threads }).catch(
    (error: unknown) => {
      // A machine without that much room is benchmarked without the bound.
      if (toErrorPayload(error).code === 'out-of-memory') return null;
      throw error;
    },
  );
  const { identity, ...subject } = await runTask('benchmark', complete);
  const result = { ...besideBandwidth(subject, bandwidth), baseline: null, runId };
  if (baseline === undefined) return { result, identity };
  try {
    const { identity: _, ...other } = await runTask('benchmark', {
      ...complete,
      model: baseline.model,
      activationBits: undefined,
      // A model in full precision runs on the processor, whatever runs the package; each result names its device.
      device: isPackage(baseline.model) ? complete.device : 'cpu',
    });
    return { result: { ...result, baseline: besideBandwidth(other, bandwidth) }, identity };
  } catch (error) {
    const payload = toErrorPayload(error);
    if (!baseline.isOptional || payload.code !== 'out-of-memory') throw error;
    message('warning', `${baseline.model} was not benchmarked beside the package: ${payload.message}`);
    return { result, identity };
  }
}

/** What was measured of a subject, seen against how fast the memory is. */
function besideBandwidth(subject: BenchmarkSubject, bandwidth: MemoryBandwidth | null): BenchmarkSubject {
  // Of this machine's memory, which a graphics card does not read from.
  if (bandwidth === null || subject.device !== 'cpu') return subject;
  const memoryBandwidthShare: Record<string, number> = {};
  for (const [depth, items] of Object.entries(subject.bytesReadPerToken)) {
    const speed = subject.decodeTokensPerSecond[depth] ?? 0;
    const share = bandwidthShare(speed, sumOfBytes(items), bandwidth);
    if (share !== null) memoryBandwidthShare[depth] = share;
  }
  return {
    ...subject,
    memoryBandwidth: bandwidth,
    memoryBandwidthShare,
    conditions: { ...subject.conditions, memoryBandwidth: { ...bandwidth } },
  };
}
