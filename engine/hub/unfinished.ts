import { existsSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { DBellError } from '../contract/errors.ts';
import { lockFileName, lockFolder } from '../files/folder-lock.ts';
import type { DownloadRequest, DownloadStore, StoredDownload } from './store.ts';
import { partSuffix, workFolderOf } from './target.ts';

/** Downloads that have begun and not ended: what is on disk of them. Nothing here needs the network, so that asking for them does not load what does. */

/** An unfinished download of the same thing whose bytes so far are still there. */
export function findUnfinished(request: DownloadRequest, store: DownloadStore): StoredDownload | null {
  const found = store.find(request);
  if (found?.state !== 'unfinished' || settle(found, store)) return null;
  return existsSync(workFolderOf(found.path)) ? found : null;
}

/**
 * A process that ended between giving a model its name and saying so has left nothing to do but to say so. Returns whether the download is complete by
 * now.
 */
function settle(download: StoredDownload, store: DownloadStore): boolean {
  const { path: target, file } = download;
  if (!isWhole(download)) return false;
  if (file === null) rmSync(path.join(target, lockFileName), { force: true });
  else rmSync(workFolderOf(target), { recursive: true, force: true });
  store.setComplete(target);
  return true;
}

/** Downloads that have begun and not ended, newest first. */
export function unfinishedDownloads(store: DownloadStore): StoredDownload[] {
  return store.unfinished().filter((download) => !settle(download, store));
}

/** Whether all files still have their length; their content was checked when they came. */
export function isWhole({ path: target, file, files }: StoredDownload): boolean {
  return files.every((each) => {
    const place = file === null ? path.join(target, each.path) : target;
    return statSync(place, { throwIfNoEntry: false })?.size === each.bytes;
  });
}

/** Bytes that an unfinished download has on disk. */
export function bytesOnDisk(download: StoredDownload): number {
  const workFolder = workFolderOf(download.path);
  return download.files.reduce((total, { path: file, bytes }) => {
    const place = path.join(workFolder, path.posix.basename(file));
    const found =
      statSync(place, { throwIfNoEntry: false }) ?? statSync(place + partSuffix, { throwIfNoEntry: false });
    return total + Math.min(bytes, found?.size ?? 0);
  }, 0);
}

/**
 * Deletes what an unfinished download has fetched.
 *
 * @throws DBellError `not-found`; `output-exists` while a process fetches it
 */
export async function discardDownload(store: DownloadStore, target: string): Promise<void> {
  const download = store.at(target);
  if (download?.state !== 'unfinished') {
    throw new DBellError('not-found', `there is no unfinished download of ${target}`);
  }
  const workFolder = workFolderOf(target);
  if (existsSync(workFolder)) {
    const lock = await lockFolder(workFolder, 'stop it first');
    store.remove(target);
    rmSync(workFolder, { recursive: true, force: true });
    lock.release();
  } else store.remove(target);
}
