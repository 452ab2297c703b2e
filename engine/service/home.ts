import path from 'node:path';
import { DBellError } from '../contract/errors.ts';
import { expandHome, personFolder } from './home-folder.ts';

const folderName = 'dbell-studio';

/**
 * DBELL_HOME, or the system's folder for application data: XDG_DATA_HOME (~/.local/share) on Linux, ~/Library/Application Support on macOS,
 * %LOCALAPPDATA% on Windows. Nothing is created here. Throws DBellError `invalid-input` where neither is known.
 */
export function defaultHome(
  environment: NodeJS.ProcessEnv = process.env,
  platform: NodeJS.Platform = process.platform,
): string {
  // What sets it need not be a shell, which would write `~` out.
  if (environment.DBELL_HOME) return path.resolve(expandHome(environment.DBELL_HOME));
  const belowHome = (...names: string[]) => {
    const home = personFolder();
    if (home === null)
      throw new DBellError(
        'invalid-input',
        'there is no folder for the history: HOME is not set and this user has no home folder; set DBELL_HOME to a folder',
      );
    return path.join(home, ...names);
  };
  if (platform === 'win32')
    return path.join(environment.LOCALAPPDATA ?? belowHome('AppData', 'Local'), folderName);
  if (platform === 'darwin') return belowHome('Library', 'Application Support', folderName);
  // The specification of XDG_DATA_HOME says that a relative path in it is to be ignored.
  const data = environment.XDG_DATA_HOME;
  return path.join(data && path.isAbsolute(data) ? data : belowHome('.local', 'share'), folderName);
}

export function historyFile(home: string): string {
  return path.join(home, 'history.sqlite');
}

/** Where packages are made: as the settings say, else below DBELL_HOME. */
export function packagesFolderOf(home: string, setting: string | null): string {
  return setting ?? path.join(home, 'models');
}

/** Where downloaded models are put: as the settings say, else below DBELL_HOME. */
export function modelsFolderOf(home: string, setting: string | null): string {
  return setting ?? path.join(home, 'downloads');
}

export function downloadsFile(home: string): string {
  return path.join(home, 'downloads.sqlite');
}

/** Jobs that a studio has in its queue. */
export function queueFile(home: string): string {
  return path.join(home, 'queue.sqlite');
}

export function settingsFile(home: string): string {
  return path.join(home, 'settings.json');
}
