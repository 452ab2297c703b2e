import type { HandlerContext, Handlers } from './handlers.ts';

export function jobHandlers({
  queue,
}: HandlerContext): Pick<
  Handlers,
  'jobs.list' | 'jobs.get' | 'jobs.details' | 'jobs.wait' | 'jobs.pause' | 'jobs.continue' | 'jobs.stop'
> {
  return {
    'jobs.list': () => ({ jobs: queue.list() }),
    'jobs.get': ({ jobId }) => ({ job: queue.get(jobId) }),
    'jobs.details': ({ jobId }) => queue.details(jobId),
    'jobs.wait': async ({ jobId }) => ({ job: await queue.wait(jobId) }),
    'jobs.pause': ({ jobId }) => ({ job: queue.pause(jobId) }),
    'jobs.continue': ({ jobId }) => ({ job: queue.continue(jobId) }),
    'jobs.stop': ({ jobId }) => ({ job: queue.stop(jobId) }),
  };
}
