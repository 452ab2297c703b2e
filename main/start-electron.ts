import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { DBellError } from '../engine/contract/errors.ts';
import { root } from './page-build.ts';

/** Electron's program, if it is installed; its npm package brings types alone and fetches the program at `npx install-electron`. Nothing is fetched here. */
export function findElectron(
  environment: NodeJS.ProcessEnv = process.env,
  packageFolder: string = path.join(root, 'node_modules', 'electron'),
): string | null {
  const pathFile = path.join(packageFolder, 'path.txt');
  const program = existsSync(pathFile) ? readFileSync(pathFile, 'utf8') : 'electron';
  const folder = environment.ELECTRON_OVERRIDE_DIST_PATH ?? path.join(packageFolder, 'dist');
  const full = path.join(folder, program);
  return existsSync(full) ? full : null;
}

/** Whether windows can be shown: always on Windows and macOS, elsewhere where a display server is named. */
export function hasDisplay(
  environment: NodeJS.ProcessEnv = process.env,
  platform: NodeJS.Platform = process.platform,
): boolean {
  if (platform === 'win32' || platform === 'darwin') return true;
  return Boolean(environment.DISPLAY) || Boolean(environment.WAYLAND_DISPLAY);
}

/** Why the window cannot be shown, in words; null where it can. */
export function whyNoWindow(electron: string | null, display: boolean): string | null {
  if (electron === null) return 'Electron is not installed here (npx install-electron fetches it)';
  return display ? null : 'there is no display';
}

/** Puts the program together and shows it in Electron; resolves with its exit code. */
export function startElectron(electron: string): Promise<number> {
  const built = spawnSync(
    process.execPath,
    [path.join(root, 'scripts', 'desktop', 'main.ts'), '--without-modules'],
    {
      encoding: 'utf8',
    },
  );
  if (built.status !== 0) {
    throw new DBellError('internal', `the desktop program could not be built: ${built.stderr.trim()}`);
  }
  return new Promise((resolve, reject) => {
    const child = spawn(electron, [path.join(root, 'build', 'desktop')], { stdio: 'inherit' });
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}
