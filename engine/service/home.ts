import os from 'node:os';
import path from 'node:path';

const folderName = 'dbell-studio';

/**
 * DBELL_HOME, or the system's folder for application data: XDG_DATA_HOME (~/.local/share) on Linux, ~/Library/Application Support on macOS,
 * %LOCALAPPDATA% on Windows. Nothing is created here.
 */
export function defaultHome(
  environment: NodeJS.ProcessEnv = process.env,
  platform: NodeJS.Platform = process.platform,
): string {
  if (environment.DBELL_HOME) return path.resolve(environment.DBELL_HOME);
  const home = os.homedir();
  if (platform === 'win32') {
    return path.join(environment.LOCALAPPDATA ?? path.join(home, 'AppData', 'Local'), folderName);
  }
  if (platform === 'darwin') return path.join(home, 'Library', 'Application Support', folderName);
  // The specification of XDG_DATA_HOME says that a relative path in it is to be ignored.
  const data = environment.XDG_DATA_HOME;
  return path.join(data && path.isAbsolute(data) ? data : path.join(home, '.local', 'share'), folderName);
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

export function settingsFile(home: string): string {
  return path.join(home, 'settings.json');
}
