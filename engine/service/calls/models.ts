import { openRecentModels } from '../recent-models.ts';
import { samples } from '../samples.ts';
import { startTask } from '../supervisor.ts';
import type { HandlerContext, Handlers } from './handlers.ts';

type ModelCall = 'inspect' | 'previewText' | 'models.list' | 'models.forget';

export function modelHandlers({ home, processHost }: HandlerContext): Pick<Handlers, ModelCall> {
  const recent = openRecentModels(home);
  return {
    // In a process of its own: a model file is hostile until it is read.
    inspect: async (input) => {
      const found = await startTask(processHost, 'inspect', input).done;
      if (input.remember && found.usable) recent.remember(found.path, found.format);
      return found;
    },
    'models.list': () => ({
      bundled: samples().models.map((model) => ({
        ...model,
        format: 'huggingface' as const,
        exists: true,
        usedAt: null,
      })),
      recent: recent.list(),
    }),
    'models.forget': ({ path }) => {
      recent.forget(path);
      return {};
    },
    previewText: (input) => startTask(processHost, 'previewText', input).done,
  };
}
