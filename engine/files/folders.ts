import { existsSync, mkdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { systemErrorCode } from './errors.ts';

/**
 * Creates a folder and those above it; one that is there already is fine. Node's own `recursive` never returns where a file system answers
 * ENOENT inside a folder that exists, as /proc does. Throws the system's error.
 */
export function makeFolders(folder: string): void {
  const missing: string[] = [];
  let current = path.resolve(folder);
  while (!existsSync(current) && path.dirname(current) !== current) {
    missing.unshift(current);
    current = path.dirname(current);
  }
  if (missing.length === 0 && !isFolder(current)) mkdirSync(current);
  for (const each of missing) {
    try {
      mkdirSync(each);
    } catch (cause) {
      // Another process was quicker.
      if (systemErrorCode(cause) !== 'EEXIST' || !isFolder(each)) throw cause;
    }
  }
}

function isFolder(entry: string): boolean {
  return statSync(entry, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/** Whether a path is a folder or lies below it; both without links. A name such as `..packed` does not lead out. */
export function isWithin(target: string, folder: string): boolean {
  const relative = path.relative(folder, target);
  return (
    relative === '' ||
    !(relative === '..' || relative.startsWith(`..${path.sep}`) || path.isAbsolute(relative))
  );
}
