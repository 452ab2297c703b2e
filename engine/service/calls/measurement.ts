import { compareJob } from '../jobs/compare.ts';
import { benchmarkJob, perplexityJob, qualityJob } from '../jobs/measurement.ts';
import { startTask } from '../supervisor.ts';
import type { HandlerContext, Handlers } from './handlers.ts';

export function measurementHandlers({
  queue,
  processHost,
  history: { runs },
}: HandlerContext): Pick<Handlers, 'perplexity' | 'quality' | 'compare' | 'benchmark' | 'measureKernels'> {
  return {
    perplexity: (input) => {
      const { jobId, runId } = queue.add(perplexityJob(runs, input));
      return { jobId, runId };
    },
    quality: (input) => {
      const { jobId, runId } = queue.add(qualityJob(runs, input));
      return { jobId, runId };
    },
    compare: (input) => {
      const { jobId, runId } = queue.add(compareJob(runs, input));
      return { jobId, runId };
    },
    benchmark: (input) => {
      const { jobId, runId } = queue.add(benchmarkJob(runs, input));
      return { jobId, runId };
    },
    measureKernels: (input) => startTask(processHost, 'kernelTable', input).done,
  };
}
