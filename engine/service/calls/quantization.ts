import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { DBellError } from '../../contract/errors.ts';
import type { QuantizeInput } from '../../contract/quantization.ts';
import { recipes } from '../../quantize/recipes.ts';
import { type QuantizeJobInput, quantizeJob } from '../jobs/quantize.ts';
import { differingSettings, outputOf, readRunFile, workFolderOf } from '../run-file.ts';
import { toJson } from '../runs.ts';
import { startTask } from '../supervisor.ts';
import type { HandlerContext, Handlers } from './handlers.ts';

export function quantizationHandlers({
  processHost,
  queue,
  runs,
}: HandlerContext): Pick<Handlers, 'recipes' | 'estimate' | 'quantize' | 'resume' | 'verify'> {
  return {
    recipes: () => ({
      recipes: [...recipes.values()].map(({ description, recipe }) => ({
        name: recipe.name,
        summary: description,
        nominalBitsPerWeight: recipe.nominalBitsPerWeight,
        activationBits: recipe.activationBits,
        recipe: toJson(recipe),
      })),
    }),
    estimate: (input) => startTask(processHost, 'estimate', input).done,
    quantize: (input) => {
      const { jobId, runId } = queue.add(quantizeJob(runs, newOrUnfinished(input)));
      return { jobId, runId };
    },
    resume: ({ path, threads }) => {
      const { jobId, runId } = queue.add(quantizeJob(runs, unfinished(path, threads)));
      return { jobId, runId };
    },
    verify: (input) => {
      const { jobId, runId } = queue.add({
        kind: 'verify',
        runId: null,
        run: ({ runTask }) => runTask('verify', input),
      });
      return { jobId, runId };
    },
  };
}

/** The unfinished run that the same request has begun before, or a new one. */
function newOrUnfinished(input: QuantizeInput): QuantizeJobInput {
  const workFolder = workFolderOf(input.out);
  const before = readRunFile(workFolder);
  if (before === null) return { input, runId: randomUUID(), createdAt: new Date().toISOString() };
  const differing = differingSettings(before.input, input);
  if (differing.length > 0) {
    throw new DBellError(
      'output-exists',
      `${workFolder} holds an unfinished run with another ${differing.join(', ')}; go on with it by resume, or delete it`,
    );
  }
  return { input, runId: before.runId, createdAt: before.createdAt };
}

/** The run that was begun in OUT.partial. */
function unfinished(outOrPartial: string, threads: number | undefined): QuantizeJobInput {
  const out = outputOf(outOrPartial);
  const workFolder = workFolderOf(out);
  const run = readRunFile(workFolder);
  if (run === null) {
    throw existsSync(out)
      ? new DBellError('invalid-input', `${out} is complete; there is nothing to resume`)
      : new DBellError('not-found', `there is no unfinished run in ${workFolder}`);
  }
  // The folder may have been moved since.
  const input = { ...run.input, out, threads: threads ?? run.input.threads };
  return { input, runId: run.runId, createdAt: run.createdAt };
}
