import type { HandlerContext, Handlers } from './handlers.ts';

export function settingsHandlers({
  settings,
  network,
  queue,
  emit,
}: HandlerContext): Pick<Handlers, 'settings.get' | 'settings.set'> {
  return {
    'settings.get': () => ({ settings: settings.get() }),
    'settings.set': (changes) => {
      const next = settings.set(changes);
      if (changes.network === false && !network.isAllowed()) {
        // At once, not only for what comes next. What was fetched so far stays.
        network.turnedOff();
        for (const job of queue.list()) if (job.kind === 'download') queue.stop(job.jobId);
      }
      emit({ type: 'settings-changed', settings: next });
      return { settings: next };
    },
  };
}
