import { existsSync, statfsSync } from 'node:fs';
import path from 'node:path';
import type { Machine } from '../../contract/machine.ts';
import { machineConditions, momentaryConditions } from '../../measure/conditions.ts';
import { packagesFolderOf } from '../home.ts';
import type { HandlerContext, Handlers } from './handlers.ts';

export function machineHandlers({ home, settings }: HandlerContext): Pick<Handlers, 'machine'> {
  return {
    machine: () => ({
      ...machineConditions(),
      ...momentaryConditions(),
      disk: diskOf(packagesFolderOf(home, settings.get().packagesFolder)),
    }),
  };
}

/** Of the volume on which the folder is, or will be. */
function diskOf(folder: string): Machine['disk'] {
  let existing = path.resolve(folder);
  while (!existsSync(existing) && path.dirname(existing) !== existing) existing = path.dirname(existing);
  try {
    const { bsize, blocks, bavail } = statfsSync(existing);
    return { folder, totalBytes: bsize * blocks, freeBytes: bsize * bavail };
  } catch {
    return null;
  }
}
