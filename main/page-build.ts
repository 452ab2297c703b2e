import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { DBellError } from '../engine/contract/errors.ts';

/** The built page of a clone, or beside this file in a packaged application. */
export const root = path.resolve(import.meta.dirname, '..');
export const pageFolder = path.join(root, 'renderer', 'dist');

/** What the page is built from. */
const sources = [
  'renderer/src',
  'renderer/public',
  'renderer/index.html',
  'renderer/vite.config.ts',
  'engine/contract',
];

/** Whether the page has to be built before it can be shown: it is missing, or older than what it is made from. */
export function isPageStale(): boolean {
  const built = path.join(pageFolder, 'index.html');
  if (!existsSync(built)) return true;
  const builtAt = statSync(built).mtimeMs;
  return sources.some((source) => newestChange(path.join(root, source)) > builtAt);
}

function newestChange(target: string): number {
  const entry = statSync(target, { throwIfNoEntry: false });
  if (entry === undefined) return 0;
  if (!entry.isDirectory()) return entry.mtimeMs;
  return readdirSync(target, { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile())
    .reduce((newest, file) => Math.max(newest, statSync(path.join(file.parentPath, file.name)).mtimeMs), 0);
}

/** Builds the page; throws DBellError with the last lines of the build where it fails. */
export function buildPage(): void {
  const vite = path.join(root, 'node_modules', 'vite', 'bin', 'vite.js');
  const config = path.join(root, 'renderer', 'vite.config.ts');
  const built = spawnSync(process.execPath, [vite, 'build', '--config', config, '--logLevel', 'warn'], {
    encoding: 'utf8',
    // Vite builds what NODE_ENV says, also a slow page that names every source file; nobody is served that one, whatever the environment holds.
    env: { ...process.env, NODE_ENV: 'production' },
  });
  if (built.status === 0) return;
  const said = `${built.stdout ?? ''}${built.stderr ?? ''}${built.error?.message ?? ''}`.trim();
  throw new DBellError('internal', `the page could not be built: ${said.split('\n').slice(-8).join('\n')}`);
}
