import { benchmarkJob, perplexityJob } from '../jobs/measurement.ts';
import type { HandlerContext, Handlers } from './handlers.ts';

export function measurementHandlers({
  queue,
  history: { runs },
}: HandlerContext): Pick<Handlers, 'perplexity' | 'benchmark'> {
  return {
    perplexity: (input) => {
      const { jobId, runId } = queue.add(perplexityJob(runs, input));
      return { jobId, runId };
    },
    benchmark: (input) => {
      const { jobId, runId } = queue.add(benchmarkJob(runs, input));
      return { jobId, runId };
    },
  };
}
