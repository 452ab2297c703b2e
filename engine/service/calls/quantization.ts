import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { concerning } from '../../contract/error-payload.ts';
import { DBellError } from '../../contract/errors.ts';
import type { QuantizeInput } from '../../contract/quantization.ts';
import { checkOutput } from '../../quantize/output-check.ts';
import { defaultActivationScales, recipes } from '../../quantize/recipes.ts';
import { readOnlySubject } from '../jobs/job.ts';
import type { JobDefinitions } from '../jobs/job-requests.ts';
import { type QuantizeJobInput, quantizeJob } from '../jobs/quantize.ts';
import { verifyJob } from '../jobs/verify.ts';
import { MeasuredSpeeds } from '../measured-speeds.ts';
import { differingSettings, outputOf, readRunFile, workFolderOf } from '../run-file.ts';
import type { RunStore } from '../run-store.ts';
import { toJson } from '../runs.ts';
import { startTask } from '../supervisor.ts';
import { isPackage } from '../tasks/package-detection.ts';
import { checkWorkFolder } from '../work-folder-check.ts';
import type { HandlerContext, Handlers, JobsContext } from './handlers.ts';

type QuantizationJobs = Pick<JobDefinitions, 'quantize' | 'resume' | 'verify' | 'export'>;

export function quantizationJobs({ history: { runs } }: JobsContext): QuantizationJobs {
  return {
    quantize: (input) => quantizeJob(runs, newOrUnfinished(input, runs)),
    resume: ({ path, threads }) => quantizeJob(runs, unfinished(path, threads, runs)),
    verify: (input) => verifyJob(runs, input),
    export: (input) => ({
      kind: 'export',
      runId: null,
      tasks: ['export'],
      subject: { ...readOnlySubject(input.package), output: input.out },
      run: ({ runTask }) => runTask('export', input),
    }),
  };
}

export function quantizationHandlers({
  processHost,
  startJob,
  history: { runs },
}: HandlerContext): Pick<
  Handlers,
  'recipes' | 'recipeSizes' | 'estimate' | 'quantize' | 'outputs.check' | 'resume' | 'verify' | 'export'
> {
  const speeds = new MeasuredSpeeds();
  return {
    recipes: () => ({
      recipes: [...recipes.values()].map(({ description, recipe }) => ({
        name: recipe.name,
        summary: description,
        nominalBitsPerWeight: recipe.nominalBitsPerWeight,
        activationBits: recipe.activationBits,
        recipe: toJson({ ...recipe, activationScales: defaultActivationScales(recipe.binarizer) }),
      })),
    }),
    recipeSizes: (input) => startTask(processHost, 'recipeSizes', input).done,
    estimate: async (input) => speeds.smoothed(input, await startTask(processHost, 'estimate', input).done),
    quantize: (input) => startJob('quantize', input),
    'outputs.check': (input) => {
      newOrUnfinished(input, runs);
      return { isUnfinished: readRunFile(workFolderOf(input.out)) !== null };
    },
    resume: (input) => startJob('resume', input),
    verify: (input) => startJob('verify', input),
    export: (input) => startJob('export', input),
  };
}

/** The unfinished run that the same request has begun before, or a new one. All that it can object to is the output. */
function newOrUnfinished(input: QuantizeInput, runs: RunStore): QuantizeJobInput {
  return concerning('output', () => occupantOf(input, runs));
}

function occupantOf(input: QuantizeInput, runs: RunStore): QuantizeJobInput {
  const workFolder = workFolderOf(input.out);
  const before = readRunFile(workFolder) ?? unreported(input.out, runs);
  if (before === null) {
    checkOutput(input.model, input.out);
    checkWorkFolder(input.out, workFolder);
    return { input, runId: randomUUID(), createdAt: null };
  }
  const differing = differingSettings(before.input, input);
  if (differing.length > 0) {
    if ('isComplete' in before) return { input, runId: randomUUID(), createdAt: null };
    throw new DBellError(
      'output-exists',
      `${workFolder} holds an unfinished run with another ${differing.join(', ')}; go on with it by resume, or delete it`,
    );
  }
  return { ...before, input };
}

/** The run whose package stands in OUT although its end was never reported. */
function unreported(out: string, runs: RunStore): QuantizeJobInput | null {
  const run = existsSync(out) ? runs.unfinishedFor(out) : null;
  return (
    run && { input: { ...run.input, out }, runId: run.runId, createdAt: run.createdAt, isComplete: true }
  );
}

/** The run that was begun in OUT.partial. */
function unfinished(outOrPartial: string, threads: number | undefined, runs: RunStore): QuantizeJobInput {
  const out = outputOf(outOrPartial);
  const workFolder = workFolderOf(out);
  const run = readRunFile(workFolder);
  if (run === null) {
    const complete = unreported(out, runs);
    if (complete) return complete;
    throw isPackage(out)
      ? new DBellError('invalid-input', `${out} is complete; there is nothing to resume`)
      : new DBellError('not-found', `there is no unfinished run in ${workFolder}`);
  }
  // The folder may have been moved since.
  const input = { ...run.input, out, threads: threads ?? run.input.threads };
  return { input, runId: run.runId, createdAt: run.createdAt };
}
