import { existsSync } from 'node:fs';
import { toErrorPayload } from '../../contract/error-payload.ts';
import type { QuantizeInput, QuantizeResult } from '../../contract/quantization.ts';
import { workFolderOf } from '../run-file.ts';
import type { RunStore } from '../run-store.ts';
import { benchmarkMetrics, perplexityMetrics, quantizationMetrics, toJson } from '../runs.ts';
import type { TaskResult } from '../work-protocol.ts';
import type { JobContext, JobDefinition } from './job.ts';
import { benchmarkSubjects } from './measurement.ts';

/** Which run a quantization is; a resumed one keeps its id. */
export interface QuantizeJobInput {
  input: QuantizeInput;
  runId: string;
  createdAt: string;
}

/**
 * Quantize, then what the request wants measured, then the row of the history. The row exists from the moment the run holds its output, so that
 * a run that is killed and resumed is one row.
 */
export function quantizeJob(runs: RunStore, request: QuantizeJobInput): JobDefinition<'quantize'> {
  const { input } = request;
  return {
    kind: 'quantize',
    runId: request.runId,
    async run(job) {
      let runId: string | null = null;
      try {
        const { layers, sourceFingerprint, ...quantized } = await job.runTask(
          'quantize',
          request,
          (accepted) => {
            runId = accepted.runId;
            runs.begin({
              runId,
              kind: 'quantize',
              createdAt: accepted.createdAt,
              modelPath: accepted.modelPath,
              modelFingerprint: null,
              recipe: input.recipe,
              activationBits: input.activationBits ?? null,
              settings: toJson({ ...input, resolvedRecipe: accepted.recipe }),
            });
            job.setRun(runId);
            job.setResumable(input.out);
          },
        );
        runId = quantized.runId;
        const result = await followUp(job, input, quantized);
        runs.finish(runId, {
          metrics: {
            ...quantizationMetrics(result),
            ...(result.perplexity ? perplexityMetrics(result.perplexity) : {}),
            ...(result.benchmark ? benchmarkMetrics(result.benchmark) : {}),
          },
          results: toJson({ quantize: result }),
          layers,
          artifacts: [{ kind: 'package', path: result.package, bytes: result.bytes }],
          modelFingerprint: sourceFingerprint,
          activationBits: result.activationBits,
        });
        job.setResumable(null);
        return result;
      } catch (error) {
        const payload = toErrorPayload(error);
        if (runId !== null) runs.fail(runId, payload);
        if (!existsSync(workFolderOf(input.out)) && !existsSync(input.out)) job.setResumable(null);
        throw error;
      }
    },
  };
}

/** The measurements asked for, each in its own process. */
async function followUp(
  job: JobContext,
  { followUp: wanted, threads }: QuantizeInput,
  quantized: Omit<TaskResult<'quantize'>, 'layers' | 'sourceFingerprint'>,
): Promise<QuantizeResult> {
  const { package: folder, runId } = quantized;
  const perplexity = wanted?.perplexity
    ? {
        ...(await job.runTask('perplexity', {
          ...wanted.perplexity,
          model: folder,
          threads,
          documentSeparator: 'default',
          remember: true,
        })),
        runId,
      }
    : null;
  const benchmark = wanted?.benchmark
    ? await benchmarkSubjects(job, { model: folder, threads }, undefined, runId)
    : null;
  return { ...quantized, perplexity, benchmark };
}
