import type { HandlerContext, Handlers } from './handlers.ts';

export function settingsHandlers({
  settings,
  emit,
}: HandlerContext): Pick<Handlers, 'settings.get' | 'settings.set'> {
  return {
    'settings.get': () => ({ settings: settings.get() }),
    'settings.set': (changes) => {
      const next = settings.set(changes);
      emit({ type: 'settings-changed', settings: next });
      return { settings: next };
    },
  };
}
