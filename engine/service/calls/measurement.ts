import type { HandlerContext, Handlers } from './handlers.ts';

export function measurementHandlers({ queue }: HandlerContext): Pick<Handlers, 'perplexity' | 'benchmark'> {
  return {
    perplexity: (input) => {
      const { jobId, runId } = queue.add({
        kind: 'perplexity',
        runId: null,
        run: async ({ runTask }) => ({ ...(await runTask('perplexity', input)), runId: null }),
      });
      return { jobId, runId };
    },
    benchmark: ({ baseline, remember: _, ...settings }) => {
      const { jobId, runId } = queue.add({
        kind: 'benchmark',
        runId: null,
        run: async ({ runTask }) => {
          const subject = await runTask('benchmark', settings);
          const other =
            baseline === undefined
              ? null
              : await runTask('benchmark', { ...settings, model: baseline, activationBits: undefined });
          return { ...subject, baseline: other, runId: null };
        },
      });
      return { jobId, runId };
    },
  };
}
