import type { Dirent, Stats } from 'node:fs';
import { mkdir, opendir, readFile, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { DBellError } from '../../contract/errors.ts';
import type { FolderEntry } from '../../contract/folders.ts';
import { fileError, systemErrorCode } from '../../files/errors.ts';
import { partialSuffix, runFileName } from '../run-file.ts';
import { confine, rootOf } from './confine.ts';

/** Entries of one listing; nobody looks through more, and a page must draw them. */
export const listedEntries = 2000;

/** A config.json beyond this is looked at by nobody here; `inspect` has its own limit. */
const glancedConfigBytes = 1024 * 1024;

const byName = new Intl.Collator('en', { numeric: true });

type LooksLike = FolderEntry['looksLike'];

export interface Listing {
  path: string;
  parent: string | null;
  looksLike: LooksLike;
  entries: FolderEntry[];
  truncated: boolean;
}

/** What a folder below the roots holds: folders first, each kind by name, without hidden entries and without links that lead out of the roots. */
export async function listFolder(target: string, roots: readonly string[]): Promise<Listing> {
  const folder = await confine(target, roots);
  const { found, truncated } = await readEntries(folder);
  const entries = (await Promise.all(found.map((entry) => describe(folder, entry, roots)))).filter(
    (entry) => entry !== null,
  );
  entries.sort(
    (a, b) => Number(a.kind === 'file') - Number(b.kind === 'file') || byName.compare(a.name, b.name),
  );
  const parent = path.dirname(folder);
  return {
    path: folder,
    parent: parent !== folder && rootOf(parent, roots) !== null ? parent : null,
    looksLike: await folderLooksLike(folder),
    entries,
    truncated,
  };
}

async function readEntries(folder: string): Promise<{ found: Dirent[]; truncated: boolean }> {
  const found: Dirent[] = [];
  try {
    // One by one: a folder of a million files must not fill the memory.
    for await (const entry of await opendir(folder)) {
      if (entry.name.startsWith('.')) continue;
      if (found.length === listedEntries) return { found, truncated: true };
      found.push(entry);
    }
  } catch (cause) {
    if (systemErrorCode(cause) === 'ENOTDIR') {
      throw new DBellError('invalid-input', `${folder} is a file, not a folder`, { cause });
    }
    throw fileError(cause, 'list', folder);
  }
  return { found, truncated: false };
}

/** Null for what is neither folder nor regular file, cannot be looked at, or lies elsewhere. */
async function describe(
  folder: string,
  entry: Dirent,
  roots: readonly string[],
): Promise<FolderEntry | null> {
  const full = path.join(folder, entry.name);
  try {
    if (entry.isSymbolicLink() && rootOf(await realpath(full), roots) === null) return null;
    const stats = await stat(full);
    if (!stats.isDirectory() && !stats.isFile()) return null;
    const kind = stats.isDirectory() ? 'folder' : 'file';
    return {
      name: entry.name,
      path: full,
      kind,
      bytes: stats.isFile() ? stats.size : null,
      modifiedAt: modifiedAt(stats),
      looksLike: kind === 'folder' ? await folderLooksLike(full) : fileLooksLike(entry.name),
    };
  } catch {
    return null;
  }
}

function modifiedAt({ mtime }: Stats): string | null {
  // Times outside what a Date can say come from broken file systems.
  return Number.isNaN(mtime.getTime()) ? null : mtime.toISOString();
}

function fileLooksLike(name: string): LooksLike {
  if (/\.gguf$/i.test(name)) return 'gguf';
  return /\.(txt|jsonl)$/i.test(name) ? 'text' : null;
}

async function folderLooksLike(folder: string): Promise<LooksLike> {
  if (folder.endsWith(partialSuffix) && (await isFile(path.join(folder, runFileName)))) return 'unfinished';
  const config = path.join(folder, 'config.json');
  try {
    const stats = await stat(config);
    // Opening a pipe would wait for its writer for ever.
    if (!stats.isFile()) return null;
    if (stats.size > glancedConfigBytes) return 'model';
    const text = await readFile(config, 'utf8');
    return /"quant_method"\s*:\s*"dbell"/.test(text) ? 'package' : 'model';
  } catch {
    return null;
  }
}

async function isFile(file: string): Promise<boolean> {
  try {
    return (await stat(file)).isFile();
  } catch {
    return false;
  }
}

/** Makes one folder below the roots. Throws `output-exists` where the name is taken. */
export async function createFolder(parent: string, name: string, roots: readonly string[]): Promise<string> {
  const folder = path.join(await confine(parent, roots), name);
  try {
    await mkdir(folder);
  } catch (cause) {
    if (systemErrorCode(cause) === 'EEXIST') {
      throw new DBellError('output-exists', `${folder} exists already; choose another name`, { cause });
    }
    throw fileError(cause, 'create the folder', folder);
  }
  return folder;
}
