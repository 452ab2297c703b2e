import { randomUUID } from 'node:crypto';
import type { z } from 'zod';
import { toErrorPayload } from '../../contract/error-payload.ts';
import { DBellError } from '../../contract/errors.ts';
import {
  type BenchmarkInput,
  type BenchmarkResult,
  type BenchmarkSettings,
  type BenchmarkSubject,
  benchmarkSettingsSchema,
  type MemoryBandwidth,
  type PerplexityInput,
  type PerplexityResult,
} from '../../contract/measurement.ts';
import type { QualityInput, QualityResult } from '../../contract/quality.ts';
import { bandwidthShares } from '../../measure/bandwidth-share.ts';
import { type RunStore, recordMeasurement } from '../run-store.ts';
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
      const result: PerplexityResult = { ...measured, runId };
      recordMeasurement(
        runs,
        result,
        {
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
      const result: QualityResult = { ...measured, runId };
      recordMeasurement(
        runs,
        result,
        {
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
      const complete = benchmarkSettingsSchema.parse(settings);
      await job.runTask('checkBenchmark', {
        subjects: [complete, ...(baseline === undefined ? [] : [baselineSettings(complete, baseline)])],
      });
      const { result, identity, stopped } = await benchmarkSubjects(
        job,
        settings,
        baseline === undefined ? undefined : { model: baseline, isOptional: false },
        runId,
      );
      recordMeasurement(
        runs,
        result,
        {
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
      if (stopped)
        throw new DBellError(
          'stopped',
          `stopped before ${baseline} was measured${result.runId === null ? '' : `; what was measured of ${result.model} is kept as run ${result.runId}`}`,
        );
      return result;
    },
  };
}

/** A model in full precision runs on the processor with its own activations, whatever runs the package; each result names its device. */
function baselineSettings(settings: BenchmarkSettings, model: string): BenchmarkSettings {
  return {
    ...settings,
    model,
    activationBits: undefined,
    device: isPackage(model) ? settings.device : 'cpu',
  };
}

/**
 * One process after another: subjects that run side by side would measure each other. The memory comes first, in a process of its own, since its buffer would
 * be in a subject's peak. Whatever ends the measurement of a baseline, that of the model before it is not lost: the result says why the baseline is missing
 * (`baselineProblem`; for an optional one that does not fit the memory a warning suffices), and `stopped` that it was stopped.
 */
export async function benchmarkSubjects(
  { runTask, message }: JobContext,
  settings: z.input<typeof benchmarkSettingsSchema>,
  baseline: { model: string; isOptional: boolean } | undefined,
  runId: string | null,
): Promise<{ result: BenchmarkResult; identity: SubjectIdentity; stopped: boolean }> {
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
  if (baseline === undefined) return { result, identity, stopped: false };
  try {
    const { identity: _, ...other } = await runTask('benchmark', baselineSettings(complete, baseline.model));
    return {
      result: { ...result, baseline: besideBandwidth(other, bandwidth) },
      identity,
      stopped: false,
    };
  } catch (error) {
    const problem = toErrorPayload(error);
    if (problem.code === 'stopped') return { result, identity, stopped: true };
    message('warning', `${baseline.model} was not benchmarked beside ${subject.model}: ${problem.message}`);
    if (baseline.isOptional && problem.code === 'out-of-memory') return { result, identity, stopped: false };
    return { result: { ...result, baselineProblem: problem }, identity, stopped: false };
  }
}

/** What was measured of a subject, seen against how fast the memory is. */
function besideBandwidth(subject: BenchmarkSubject, bandwidth: MemoryBandwidth | null): BenchmarkSubject {
  // Of this machine's memory, which a graphics card does not read from.
  if (bandwidth === null || subject.device !== 'cpu') return subject;
  return {
    ...subject,
    memoryBandwidth: bandwidth,
    memoryBandwidthShare: bandwidthShares(subject, bandwidth),
    conditions: { ...subject.conditions, memoryBandwidth: { ...bandwidth } },
  };
}
