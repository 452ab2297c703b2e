import { createFolder, listFolder } from '../folders/listing.ts';
import { folderRoots } from '../folders/roots.ts';
import { packagesFolderOf } from '../home.ts';
import type { HandlerContext, Handlers } from './handlers.ts';

export function folderHandlers({
  home,
  settings,
}: HandlerContext): Pick<Handlers, 'folders.roots' | 'folders.list' | 'folders.create'> {
  // Asked for every time: disks come and go, and settings change.
  const roots = () => {
    const { packagesFolder, allowedFolders } = settings.get();
    return folderRoots({ packagesFolder: packagesFolderOf(home, packagesFolder), allowedFolders });
  };
  const rootPaths = () => roots().map(({ path }) => path);
  return {
    'folders.roots': () => ({ roots: roots() }),
    'folders.list': ({ path }) => listFolder(path, rootPaths()),
    'folders.create': async ({ parent, name }) => ({ path: await createFolder(parent, name, rootPaths()) }),
  };
}
