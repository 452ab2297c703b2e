import type { HandlerContext, Handlers } from './handlers.ts';

export function measurementHandlers({ queue }: HandlerContext): Pick<Handlers, 'perplexity'> {
  return {
    perplexity: (input) => {
      const { jobId, runId } = queue.add({
        kind: 'perplexity',
        runId: null,
        run: async ({ runTask }) => ({ ...(await runTask('perplexity', input)), runId: null }),
      });
      return { jobId, runId };
    },
  };
}
