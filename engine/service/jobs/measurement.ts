import { randomUUID } from 'node:crypto';
import { toErrorPayload } from '../../contract/error-payload.ts';
import { DBellError } from '../../contract/errors.ts';
import {
  type BenchmarkInput,
  type BenchmarkResult,
  type BenchmarkSettings,
  benchmarkSettingsSchema,
  type PerplexityInput,
  type PerplexityResult,
} from '../../contract/measurement.ts';
import type { QualityInput, QualityResult } from '../../contract/quality.ts';
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
import { besideBandwidth, measuredBandwidth } from './bandwidth.ts';
import { type BenchmarkedSubject, benchmarkInTurns, syntheticLabel } from './benchmark-peers.ts';
import { type JobContext, type JobDefinition, readOnlySubject } from './job.ts';

/** Perplexity of one subject, remembered when it succeeded. */
export function perplexityJob(runs: RunStore, input: PerplexityInput): JobDefinition<'perplexity'> {
  const runId = input.remember ? randomUUID() : null;
  return {
    kind: 'perplexity',
    runId,
    tasks: ['perplexity'],
    subject: readOnlySubject(input.model),
    async run({ runTask }) {
      const createdAt = new Date().toISOString();
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
  return {
    kind: 'quality',
    runId,
    tasks: ['quality'],
    subject: readOnlySubject(input.model, input.against),
    async run({ runTask }) {
      const createdAt = new Date().toISOString();
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

/** Benchmark of one subject, of a baseline where one is given, and of other programs in turns with it. */
export function benchmarkJob(runs: RunStore, input: BenchmarkInput): JobDefinition<'benchmark'> {
  const { baseline, remember, peers, ...asked } = input;
  const subject = benchmarkedSubject(input);
  const label = 'model' in subject ? subject.model : syntheticLabel(subject.synthetic);
  const runId = remember ? randomUUID() : null;
  return {
    kind: 'benchmark',
    runId,
    tasks: ['benchmark'],
    subject: readOnlySubject(label, ...(baseline === undefined ? [] : [baseline])),
    async run(job) {
      const createdAt = new Date().toISOString();
      const { result, identity, stopped } = await measure(job);
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
          settings: toJson({ ...asked, baseline, ...(peers.length > 0 ? { peers } : {}) }),
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

  async function measure(job: JobContext): ReturnType<typeof benchmarkSubjects> {
    const { model: _, synthetic: __, ...settings } = asked;
    if ('model' in subject && peers.length === 0) {
      const complete = benchmarkSettingsSchema.parse({ ...settings, ...subject });
      await job.runTask('checkBenchmark', {
        subjects: [complete, ...(baseline === undefined ? [] : [baselineSettings(complete, baseline)])],
      });
      return benchmarkSubjects(
        job,
        complete,
        baseline === undefined ? undefined : { model: baseline, isOptional: false },
        runId,
      );
    }
    const { measured, identity } = await benchmarkInTurns(job, subject, peers, settings);
    return { result: { ...measured, baseline: null, runId }, identity, stopped: false };
  }
}

/** A model or a shape. Throws DBellError `invalid-input` where there is none, both, or what does not go together. */
function benchmarkedSubject({ model, synthetic, peers, baseline }: BenchmarkInput): BenchmarkedSubject {
  if ((model === undefined) === (synthetic === undefined))
    throw new DBellError('invalid-input', 'a benchmark is of a model or of a shape: give one of them');
  if (baseline !== undefined && (synthetic !== undefined || peers.length > 0))
    throw new DBellError(
      'invalid-input',
      'a baseline is measured behind a model, other programs in turns with it: give one of them',
    );
  if (model !== undefined) return { model };
  if (synthetic !== undefined) return { synthetic };
  throw new DBellError('internal', 'a benchmark of nothing');
}

/** A model in full precision runs on the processor with its own activations, whatever runs the package; each result names its device. */
function baselineSettings(settings: BenchmarkSettings, model: string): BenchmarkSettings {
  return {
    ...settings,
    model,
    activationBits: undefined,
    ...(isPackage(model) ? {} : { device: 'cpu', keyValueCache: undefined }),
  };
}

/**
 * One process after another: subjects that run side by side would measure each other. The memory comes first, in a process of its own, since its buffer would
 * be in a subject's peak. Whatever ends the measurement of a baseline, that of the model before it is not lost: the result says why the baseline is missing
 * (`baselineProblem`; for an optional one that does not fit the memory a warning suffices), and `stopped` that it was stopped.
 */
export async function benchmarkSubjects(
  job: JobContext,
  settings: BenchmarkSettings,
  baseline: { model: string; isOptional: boolean } | undefined,
  runId: string | null,
): Promise<{ result: BenchmarkResult; identity: SubjectIdentity; stopped: boolean }> {
  const { runTask, message } = job;
  const bandwidth = await measuredBandwidth(job, settings.threads);
  const { identity, ...subject } = await runTask('benchmark', settings);
  const result = { ...besideBandwidth(subject, bandwidth), baseline: null, runId };
  if (baseline === undefined) return { result, identity, stopped: false };
  try {
    const { identity: _, ...other } = await runTask('benchmark', baselineSettings(settings, baseline.model));
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
