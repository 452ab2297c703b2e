import { readOnlySubject } from '../jobs/job.ts';
import type { HandlerContext, Handlers } from './handlers.ts';

export function generationHandlers({ queue }: HandlerContext): Pick<Handlers, 'generate' | 'chat'> {
  const start = (input: Parameters<Handlers['generate']>[0] | Parameters<Handlers['chat']>[0]) => {
    const { jobId } = queue.add({
      kind: 'generate',
      runId: null,
      tasks: ['generate'],
      subject: readOnlySubject(input.model),
      run: ({ runTask }) => runTask('generate', input),
    });
    return { jobId };
  };
  return { generate: start, chat: start };
}
