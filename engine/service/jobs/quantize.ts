import { existsSync } from 'node:fs';
import path from 'node:path';
import { type ActivationBits, activationBitsSchema } from '../../contract/common.ts';
import { toErrorPayload } from '../../contract/error-payload.ts';
import { DBellError } from '../../contract/errors.ts';
import type { JobSubject, JobTask } from '../../contract/jobs.ts';
import { benchmarkSettingsSchema } from '../../contract/measurement.ts';
import {
  type QuantizeInput,
  type QuantizeResult,
  quantizedSchema,
  type VerifyResult,
  verifyResultSchema,
} from '../../contract/quantization.ts';
import { findRecipe } from '../../quantize/recipes.ts';
import { removeFinishedWork } from '../../quantize/work-folder.ts';
import { readRunFile, workFolderOf } from '../run-file.ts';
import type { RunStore } from '../run-store.ts';
import {
  benchmarkMetrics,
  fingerprintsOf,
  perplexityMetrics,
  qualityMetrics,
  quantizationMetrics,
  toJson,
} from '../runs.ts';
import type { AcceptedReport, SubjectIdentity, TaskResult } from '../work-protocol.ts';
import type { JobContext, JobDefinition } from './job.ts';
import { benchmarkSubjects } from './measurement.ts';

/** Which run a quantization is; a resumed one keeps its id. */
export interface QuantizeJobInput {
  input: QuantizeInput;
  runId: string;
  /** When it first began to run; null: it has not yet. */
  createdAt: string | null;
  /** The package stands, but its service was killed before the history could say so. */
  isComplete?: boolean;
}

type Made = TaskResult<'quantize'>;

const nothingMeasured = { verify: null, perplexity: null, quality: null, benchmark: null };

/**
 * Quantize, then what the request wants measured, then the end of the history's row. The row exists from the moment the run holds its output, so that
 * a run that is killed and resumed is one row.
 */
export function quantizeJob(runs: RunStore, request: QuantizeJobInput): JobDefinition<'quantize'> {
  const { input } = request;
  return {
    kind: 'quantize',
    runId: request.runId,
    tasks: tasksOf(input),
    subject: subjectOf(input),
    async run(job) {
      let runId: string | null = null;
      // Taken up: whatever ends its process now, even before that holds the output, it can be taken up again.
      if (readRunFile(workFolderOf(input.out)) !== null) job.setResumable(input.out);
      const begin = ({ activationBits, ...accepted }: Accepted) => {
        runId = accepted.runId;
        runs.begin({
          ...accepted,
          kind: 'quantize',
          modelFingerprint: null,
          packageFingerprint: null,
          activationBits,
          settings: toJson(input),
        });
        job.setRun(runId, { recipe: accepted.recipe, activationBits });
        job.setResumable(input.out);
      };
      try {
        const { layers, identity, ...quantized } = await makePackage(job, request, begin);
        const finish = (result: QuantizeResult) => {
          runs.finish(quantized.runId, {
            metrics: {
              ...quantizationMetrics(result),
              ...(result.perplexity ? perplexityMetrics(result.perplexity) : {}),
              ...(result.quality ? qualityMetrics(result.quality) : {}),
              ...(result.benchmark ? benchmarkMetrics(result.benchmark) : {}),
            },
            results: toJson({
              quantize: quantizedSchema.parse(result),
              verify: result.verify ?? undefined,
              perplexity: result.perplexity ?? undefined,
              quality: result.quality ?? undefined,
              benchmark: result.benchmark ?? undefined,
            }),
            layers,
            artifacts: [{ kind: 'package', path: result.package, bytes: result.bytes }],
            ...fingerprintsOf(identity),
            activationBits: result.activationBits,
          });
          // The package stands: nothing is left to take up, and a failed measurement does not make its run a failed one.
          runId = null;
          job.setResumable(null);
        };
        const result: QuantizeResult = { ...quantized, ...nothingMeasured };
        try {
          await followUp(job, input, result);
        } catch (error) {
          finish(result);
          const { code, message } = toErrorPayload(error);
          throw new DBellError(
            code,
            `${quantized.package} is complete, but was not measured as asked: ${message}; "dbell quality", "dbell perplexity" and "dbell benchmark" measure it`,
            { cause: error },
          );
        }
        finish(result);
        return result;
      } catch (error) {
        if (runId !== null) runs.fail(runId, toErrorPayload(error));
        // Ended before the history knew of it, as while the model wrote its own calibration text: what is written is kept.
        else if (hasRunFileOf(request)) job.setResumable(input.out);
        const isGone = !existsSync(workFolderOf(input.out)) && !existsSync(input.out);
        if (isGone || toErrorPayload(error).code === 'invalid-checkpoint') job.setResumable(null);
        throw error;
      }
    },
  };
}

/** Whether the work folder is that of this very run. */
function hasRunFileOf({ input, runId }: QuantizeJobInput): boolean {
  try {
    return readRunFile(workFolderOf(input.out))?.runId === runId;
  } catch {
    return false;
  }
}

/** In the order in which `run` and `followUp` do them. */
function tasksOf({ followUp: wanted }: QuantizeInput): JobTask[] {
  const followUps = (['verify', 'perplexity', 'quality', 'benchmark'] as const).filter(
    (task) => wanted?.[task],
  );
  return ['quantize', ...followUps];
}

/** Before the recipe is resolved for the model, which the task does; what is wrong with it the task says too. */
function subjectOf({ model, recipe, activationBits, out }: QuantizeInput): JobSubject {
  return {
    models: [model],
    recipe,
    activationBits: activationBits ?? findRecipe(recipe)?.recipe.activationBits ?? null,
    output: out,
  };
}

/** What the history's row begins with; `recipe` is the resolved recipe's name. */
type Accepted = Pick<AcceptedReport, 'runId' | 'createdAt' | 'modelPath'> & {
  recipe: string;
  activationBits: ActivationBits;
};

/** Makes the package, or reads from it what the run that made it could not report. */
async function makePackage(
  job: JobContext,
  { input, runId, createdAt: begunAt, isComplete }: QuantizeJobInput,
  begin: (accepted: Accepted) => void,
): Promise<Made> {
  const createdAt = begunAt ?? new Date().toISOString();
  if (!isComplete) {
    return job.runTask('quantize', { input, runId, createdAt }, ({ type: _, recipe, ...run }) =>
      begin({
        ...run,
        recipe: String(recipe.name),
        activationBits: activationBitsSchema.parse(recipe.activationBits),
      }),
    );
  }
  const described = await job.runTask('describePackage', { package: input.out }).catch((error: unknown) => {
    if (toErrorPayload(error).code === 'invalid-package') return null;
    throw error;
  });
  // A recipe with settings changed is named `NAME key=value …`.
  if (described?.recipe.split(' ')[0] !== input.recipe || described.embeddingBits !== input.embeddingBits) {
    throw new DBellError(
      'output-exists',
      `${input.out} exists already and is not the package of this run; choose another output or delete it first`,
    );
  }
  const { recipe, activationBits } = described;
  begin({ runId, createdAt, modelPath: path.resolve(input.model), recipe, activationBits });
  removeFinishedWork(workFolderOf(input.out));
  return { ...described, runId };
}

/**
 * The measurements asked for, each in its own process. Each is put into `result` as soon as it is done, so that a later one that fails does not cost it.
 */
async function followUp(
  job: JobContext,
  { followUp: wanted, threads, model }: QuantizeInput,
  result: QuantizeResult,
): Promise<void> {
  const { package: folder, runId } = result;
  const common = { model: folder, threads, documentSeparator: 'default', remember: true } as const;
  if (wanted?.verify) result.verify = await verified(job, folder, model, runId);
  if (wanted?.perplexity)
    result.perplexity = ofRun(
      await job.runTask('perplexity', { ...wanted.perplexity, ...common, device: 'cpu' }),
      runId,
    );
  if (wanted?.quality)
    result.quality = ofRun(
      await job.runTask('quality', { ...wanted.quality, ...common, against: model }),
      runId,
    );
  if (wanted?.benchmark) {
    const { result: measured, stopped } = await benchmarkSubjects(
      job,
      benchmarkSettingsSchema.parse({ model: folder, threads }),
      wanted.benchmarkOriginal ? { model, isOptional: true } : undefined,
      runId,
    );
    result.benchmark = measured;
    if (stopped) throw new DBellError('stopped', 'stopped');
  }
}

/** Whether the package is what was to be made. What is wrong with it is told at once, and does not keep it from being measured. */
async function verified(
  job: JobContext,
  folder: string,
  against: string,
  runId: string,
): Promise<VerifyResult> {
  const found = await job.runTask('verify', { package: folder, against });
  for (const { message } of found.problems) job.message('warning', message);
  return verifyResultSchema.parse({ ...found, runId });
}

/** A measurement as a part of this run. */
function ofRun<T extends { identity: SubjectIdentity }>(measured: T, runId: string) {
  const { identity: _, ...result } = measured;
  return { ...result, runId };
}
