import { type Dirent, existsSync, readdirSync, realpathSync, statSync } from 'node:fs';
import path from 'node:path';
import { DBellError } from '../contract/errors.ts';
import { resourcesFolder } from '../files/unpacked.ts';
import { textLimits } from './limits.ts';

export interface TextFile {
  /** Absolute. */
  path: string;
  /** For messages and for the folder's hash: relative to the source, with `/`. */
  name: string;
  format: 'text' | 'json-lines';
  bytes: number;
}

export interface TextFiles {
  /** `bundled:general`, or the file's or folder's own name. */
  name: string;
  isFolder: boolean;
  files: TextFile[];
}

const bundledFolder = path.join(resourcesFolder(import.meta.dirname), 'dbell-stories');

/** Texts that come with the product. */
export const bundledTexts: Readonly<Record<string, string>> = {
  'bundled:general': 'general.txt',
  'bundled:stories': 'stories.train.sample.txt',
  'bundled:stories-validation': 'stories.valid.txt',
};

function bundledNames(): string {
  return Object.keys(bundledTexts).join(', ');
}

/**
 * Finds the files of a text source: a text file, a .jsonl file, a folder of both (with subfolders, in order of name), or a bundled text.
 * Throws DBellError `not-found` or `invalid-text`.
 */
export function findTextFiles(source: string): TextFiles {
  if (source.startsWith('bundled:')) {
    const file = Object.hasOwn(bundledTexts, source) ? bundledTexts[source] : undefined;
    if (file === undefined)
      throw new DBellError('not-found', `there is no text ${source}; bundled texts are ${bundledNames()}`);
    return { name: source, isFolder: false, files: [textFile(path.join(bundledFolder, file), file)] };
  }
  if (source.trim() === '')
    throw new DBellError(
      'invalid-input',
      `the text source is empty; give a file, a folder or one of ${bundledNames()}`,
    );
  const full = path.resolve(source);
  if (!existsSync(full))
    throw new DBellError(
      'not-found',
      `text ${source} does not exist; give a file, a folder or one of ${bundledNames()}`,
    );
  const name = path.basename(realpathSync(full));
  if (!statSync(full).isDirectory()) return { name, isFolder: false, files: [textFile(full, name)] };
  const files = filesOfFolder(full);
  if (files.length === 0)
    throw new DBellError('invalid-text', `folder ${source} holds no .txt or .jsonl file`);
  return { name, isFolder: true, files };
}

function filesOfFolder(folder: string): TextFile[] {
  const names = textFileNames(folder, '');
  if (names.length > textLimits.maxFolderFiles)
    throw new DBellError(
      'invalid-text',
      `folder ${folder} holds more than ${textLimits.maxFolderFiles} text files`,
    );
  // By UTF-16 unit, not by locale: the order decides the windows.
  names.sort((a, b) => (a < b ? -1 : 1));
  return names.map((name) => textFile(path.join(folder, name), name));
}

/** Names of the text files below a folder, relative to the root, without hidden ones. Links to folders are not followed: they may form loops. */
function textFileNames(root: string, relative: string): string[] {
  let entries: Dirent[];
  try {
    entries = readdirSync(path.join(root, relative), { withFileTypes: true });
  } catch (error) {
    throw new DBellError(
      'disk-error',
      `cannot read folder ${path.join(root, relative)}: ${(error as Error).message}`,
      { cause: error },
    );
  }
  const names: string[] = [];
  for (const entry of entries) {
    if (entry.name.startsWith('.')) continue;
    const name = relative === '' ? entry.name : `${relative}/${entry.name}`;
    if (entry.isDirectory()) names.push(...textFileNames(root, name));
    else if (/\.(txt|jsonl)$/i.test(entry.name) && !isLinkToFolder(path.join(root, name), entry))
      names.push(name);
    if (names.length > textLimits.maxFolderFiles) break;
  }
  return names;
}

function isLinkToFolder(full: string, entry: Dirent): boolean {
  return entry.isSymbolicLink() && (statSync(full, { throwIfNoEntry: false })?.isDirectory() ?? false);
}

function textFile(full: string, name: string): TextFile {
  let stats: ReturnType<typeof statSync>;
  try {
    stats = statSync(full);
  } catch (error) {
    throw new DBellError('invalid-text', `cannot read ${name}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  if (!stats.isFile())
    throw new DBellError(
      'invalid-text',
      `${full} is not a regular file; a text is read more than once, so write what a pipe or device gives into a file first`,
    );
  const format = /\.jsonl$/i.test(name) ? 'json-lines' : 'text';
  return { path: full, name, format, bytes: stats.size };
}
