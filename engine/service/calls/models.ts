import { startTask } from '../supervisor.ts';
import type { HandlerContext, Handlers } from './handlers.ts';

export function modelHandlers({ processHost }: HandlerContext): Pick<Handlers, 'inspect' | 'previewText'> {
  return {
    // In a process of its own: a model file is hostile until it is read.
    inspect: (input) => startTask(processHost, 'inspect', input).done,
    previewText: (input) => startTask(processHost, 'previewText', input).done,
  };
}
