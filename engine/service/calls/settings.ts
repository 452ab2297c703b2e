import path from 'node:path';
import { DBellError } from '../../contract/errors.ts';
import type { Settings } from '../../contract/settings.ts';
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
      checkAbsolute(changes);
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

/** A folder that is kept must not depend on where the program is started the next time. Throws DBellError `invalid-input`. */
function checkAbsolute({ packagesFolder, modelsFolder, allowedFolders = [] }: Partial<Settings>): void {
  const folders: [string, string | null | undefined][] = [
    ['packagesFolder', packagesFolder],
    ['modelsFolder', modelsFolder],
    ...allowedFolders.map((folder): [string, string] => ['allowedFolders', folder]),
  ];
  for (const [name, folder] of folders)
    if (typeof folder === 'string' && !path.isAbsolute(folder))
      throw new DBellError('invalid-input', `${name}: "${folder}" is not a whole path; begin it with / or ~`);
}
