import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { DBellError } from '../../contract/errors.ts';

const contentTypes: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.json': 'application/json; charset=utf-8',
  '.woff2': 'font/woff2',
  '.txt': 'text/plain; charset=utf-8',
};

export interface StaticFile {
  bytes: Buffer;
  contentType: string;
  /** Its name changes with its content, so that it may be kept for ever. */
  immutable: boolean;
}

/**
 * The built page, read once: a request can name only what was there at the start, so that no path leads anywhere else. The keys are the paths of
 * addresses, `/` being index.html. Files of kinds that a page has no use for (source maps) are left out.
 */
export function loadStaticFiles(folder: string): ReadonlyMap<string, StaticFile> {
  if (!existsSync(path.join(folder, 'index.html'))) {
    throw new DBellError('not-found', `${folder} holds no built page; run: npm run build:renderer`);
  }
  const files = new Map<string, StaticFile>();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = path.join(entry.parentPath, entry.name);
    const contentType = contentTypes[path.extname(file)];
    if (contentType === undefined) continue;
    const address = `/${path.relative(folder, file).split(path.sep).join('/')}`;
    const found = { bytes: readFileSync(file), contentType, immutable: address.startsWith('/assets/') };
    files.set(address === '/index.html' ? '/' : address, found);
  }
  return files;
}
