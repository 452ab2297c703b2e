import { existsSync, readdirSync, realpathSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { FolderRoot } from '../../contract/folders.ts';
import { personFolder } from '../home-folder.ts';
import { samplesFolder } from '../samples.ts';

/** Where systems mount disks; each folder in them is a root. */
const volumeFolders = () => {
  if (process.platform === 'darwin') return ['/Volumes'];
  const user = userName();
  return user === null ? ['/mnt'] : [path.join('/media', user), path.join('/run/media', user), '/mnt'];
};

/** Null for a user without an account, as in containers. */
function userName(): string | null {
  try {
    return os.userInfo().username;
  } catch {
    return null;
  }
}

export interface RootSources {
  /** Where packages are made. */
  packagesFolder: string;
  /** What the person allows besides. */
  allowedFolders: readonly string[];
}

/**
 * The folders below which the page may look, without links, absent ones left out, none twice. On Windows every drive of the person's is theirs to
 * look at, as in the system's own dialogs.
 */
export function folderRoots({ packagesFolder, allowedFolders }: RootSources): FolderRoot[] {
  const home = personFolder();
  const candidates: Omit<FolderRoot, 'name'>[] = [
    ...(home === null ? [] : [{ path: home, kind: 'home' as const }]),
    { path: packagesFolder, kind: 'packages' },
    { path: samplesFolder, kind: 'samples' },
    ...volumes().map((volume) => ({ path: volume, kind: 'volume' as const })),
    ...allowedFolders.map((folder) => ({ path: folder, kind: 'allowed' as const })),
  ];
  const roots = new Map<string, FolderRoot>();
  for (const candidate of candidates) {
    const real = realFolder(candidate.path);
    if (real !== null && !roots.has(real)) {
      roots.set(real, { path: real, kind: candidate.kind, name: path.basename(real) || real });
    }
  }
  return [...roots.values()];
}

function volumes(): string[] {
  if (process.platform === 'win32') {
    return Array.from({ length: 26 }, (_, letter) => `${String.fromCharCode(65 + letter)}:\\`).filter(
      existsSync,
    );
  }
  return volumeFolders().flatMap((folder) => {
    try {
      return readdirSync(folder).map((name) => path.join(folder, name));
    } catch {
      return [];
    }
  });
}

/** The folder without links; null where there is none. */
function realFolder(folder: string): string | null {
  try {
    const real = realpathSync.native(folder);
    readdirSync(real);
    return real;
  } catch {
    return null;
  }
}
