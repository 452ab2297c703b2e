import { compareJob } from '../jobs/compare.ts';
import type { JobDefinitions } from '../jobs/job-requests.ts';
import { benchmarkJob, perplexityJob, qualityJob } from '../jobs/measurement.ts';
import { startTask } from '../supervisor.ts';
import type { HandlerContext, Handlers, JobsContext } from './handlers.ts';

type MeasurementCall = 'perplexity' | 'quality' | 'compare' | 'benchmark';

export function measurementJobs({ history: { runs } }: JobsContext): Pick<JobDefinitions, MeasurementCall> {
  return {
    perplexity: (input) => perplexityJob(runs, input),
    quality: (input) => qualityJob(runs, input),
    compare: (input) => compareJob(runs, input),
    benchmark: (input) => benchmarkJob(runs, input),
  };
}

export function measurementHandlers({
  startJob,
  processHost,
}: HandlerContext): Pick<Handlers, MeasurementCall | 'measureKernels'> {
  return {
    perplexity: (input) => startJob('perplexity', input),
    quality: (input) => startJob('quality', input),
    compare: (input) => startJob('compare', input),
    benchmark: (input) => startJob('benchmark', input),
    measureKernels: (input) => startTask(processHost, 'kernelTable', input).done,
  };
}
