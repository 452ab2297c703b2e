import { compareJob } from '../jobs/compare.ts';
import { benchmarkJob, perplexityJob, qualityJob } from '../jobs/measurement.ts';
import type { HandlerContext, Handlers } from './handlers.ts';

export function measurementHandlers({
  queue,
  history: { runs },
}: HandlerContext): Pick<Handlers, 'perplexity' | 'quality' | 'compare' | 'benchmark'> {
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
  };
}
