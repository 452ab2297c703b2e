import { readdir, readFile, stat } from 'node:fs/promises';
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
 * addresses, `/` being index.html. Files of kinds that a page has no use for (source maps) are left out. Throws DBellError `not-found`.
 */
export async function loadStaticFiles(folder: string): Promise<ReadonlyMap<string, StaticFile>> {
  const files = new Map<string, StaticFile>();
  await addFolder(folder, '/', files);
  const index = files.get('/index.html');
  if (index === undefined) {
    throw new DBellError('not-found', `${folder} holds no built page; run: npm run build:renderer`);
  }
  files.delete('/index.html');
  files.set('/', index);
  return files;
}

/** Folder by folder, which works inside an archive too. */
async function addFolder(folder: string, address: string, files: Map<string, StaticFile>): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names) {
    const full = path.join(folder, name);
    if ((await stat(full)).isDirectory()) {
      await addFolder(full, `${address}${name}/`, files);
      continue;
    }
    const contentType = contentTypes[path.extname(name)];
    if (contentType === undefined) continue;
    files.set(`${address}${name}`, {
      bytes: await readFile(full),
      contentType,
      immutable: address === '/assets/',
    });
  }
}
