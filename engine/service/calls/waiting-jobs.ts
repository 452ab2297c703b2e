import type { HandlerContext, Handlers } from './handlers.ts';

export function waitingJobHandlers({
  waiting,
}: HandlerContext): Pick<Handlers, 'waiting.list' | 'waiting.start' | 'waiting.dismiss'> {
  return {
    'waiting.list': () => ({ jobs: waiting.list() }),
    'waiting.start': ({ jobId: left }) => {
      const { jobId, runId } = waiting.start(left);
      return { jobId, runId };
    },
    'waiting.dismiss': ({ jobId }) => {
      waiting.dismiss(jobId);
      return {};
    },
  };
}
