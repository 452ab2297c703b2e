import { existsSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { DBellError } from '../contract/errors.ts';
import type { DownloadInput, DownloadResult } from '../contract/hub.ts';
import { formatBytes } from '../contract/number-format.ts';
import { renameDurably, syncFolder } from '../files/atomic.ts';
import { fileError } from '../files/errors.ts';
import { lockFileName, lockFolder } from '../files/folder-lock.ts';
import { makeFolders } from '../files/folders.ts';
import { freeBytes } from '../files/free-space.ts';
import { fileAddress } from './api.ts';
import { choose } from './choices.ts';
import type { HubConnection } from './connection.ts';
import { hubLimits } from './limits.ts';
import { describeRepository } from './repository.ts';
import { bytesOfFiles, type RepositoryFile } from './repository-file.ts';
import type { DownloadRequest, DownloadStore, StoredDownload } from './store.ts';
import { partSuffix, targetOf, workFolderOf } from './target.ts';
import { transferFile } from './transfer.ts';
import { findUnfinished, isWhole } from './unfinished.ts';

export interface DownloadProgress {
  stage: 'ask' | 'transfer';
  /** Which file of how many; null before the files are known. */
  file: { index: number; count: number; name: string } | null;
  bytesDone: number;
  bytesTotal: number;
  /** Of `bytesDone`, those that came over the network in this run. */
  bytesTransferred: number;
}

export interface DownloadOptions {
  /** Folder of all downloaded models. */
  folder: string;
  store: DownloadStore;
  onProgress(progress: DownloadProgress): void;
  onMessage(message: string): void;
  /** Holds while paused; throws `stopped`. */
  border(): Promise<void>;
}

/**
 * Fetches a model: everything is put into a work folder beside its place and gets its name only when every file is whole, checked against the hash that the
 * server lists, and on disk. Whatever ended an earlier attempt, the same request goes on where it was; one that is complete already transfers nothing. One
 * process at a time fetches one model.
 *
 * @throws DBellError `not-found`, `access-denied`, `network-error`, `damaged-download`, `unsupported-model`, `invalid-input` (several GGUF files),
 * `output-exists` (another process fetches it), `disk-full`, `disk-error`, `stopped`
 */
export async function downloadModel(
  connection: HubConnection,
  input: DownloadInput,
  options: DownloadOptions,
): Promise<DownloadResult> {
  const request: DownloadRequest = {
    endpoint: connection.endpoint,
    name: input.name,
    revision: input.revision,
    file: input.file ?? null,
  };
  const { store } = options;
  const unfinished = findUnfinished(request, store);
  const plan = unfinished === null ? await makePlan(connection, request, options) : null;
  const target = unfinished?.path ?? plan!.target;
  const workFolder = workFolderOf(target);
  const complete = completeAt(target, plan, store);
  if (complete) return resultOf(complete, 0, true);
  try {
    makeFolders(workFolder);
  } catch (cause) {
    throw fileError(cause, 'create the folder', workFolder);
  }
  const lock = await lockFolder(workFolder, 'wait for it, or stop it');
  let isRenamed = false;
  try {
    // Another process may have been quicker.
    const meanwhile = completeAt(target, plan, store);
    if (meanwhile) {
      rmSync(workFolder, { recursive: true, force: true });
      return resultOf(meanwhile, 0, true);
    }
    if (plan !== null) store.begin(target, request, plan);
    const download = store.at(target);
    if (download === null) {
      throw new DBellError('stopped', `${input.name}: the unfinished download was discarded meanwhile`);
    }
    removeStrays(download, workFolder);
    checkDisk(download, workFolder);
    const transferredBytes = await fetchFiles(connection, download, workFolder, options);
    takePlace(download, workFolder);
    isRenamed = true;
    store.setComplete(target);
    return resultOf(download, transferredBytes, false);
  } catch (error) {
    // Asking again must list anew what the server has by now.
    if (error instanceof DBellError && (error.code === 'damaged-download' || error.code === 'not-found')) {
      store.remove(target);
    }
    throw error;
  } finally {
    if (!isRenamed) lock.release();
  }
}

interface Plan {
  target: string;
  commit: string;
  license: string | null;
  files: RepositoryFile[];
}

/** Asks what is to be fetched, and finds a place for it: a free one, or the one where the same commit stands already. */
async function makePlan(
  connection: HubConnection,
  request: DownloadRequest,
  { folder, store, onProgress, border }: DownloadOptions,
): Promise<Plan> {
  onProgress({ stage: 'ask', file: null, bytesDone: 0, bytesTotal: 0, bytesTransferred: 0 });
  await border();
  const { description, choices } = await describeRepository(connection, request.name, request.revision);
  const problem = description.problems.find(({ severity }) => severity === 'error');
  if (problem?.code === 'gated') throw new DBellError('access-denied', problem.message);
  if (problem && choices.length === 0) {
    throw new DBellError('unsupported-model', `${request.name}: ${problem.message}`);
  }
  const chosen = choose(choices, request.file, request.name);
  // A GGUF file is judged by itself; what is wrong with the folder beside it does not concern it.
  const concerns = chosen.format === 'huggingface' || choices.every(({ format }) => format === 'gguf');
  if (problem && concerns) {
    throw new DBellError('unsupported-model', `${request.name}: ${problem.message}`);
  }
  const plan = { commit: description.commit, license: description.license, files: chosen.files };
  for (const withCommit of request.revision === 'main' ? [false, true] : [true]) {
    const target = targetOf(folder, request, plan.commit, withCommit);
    if (!existsSync(target) || completeAt(target, plan, store)) return { target, ...plan };
  }
  throw new DBellError(
    'output-exists',
    `${targetOf(folder, request, plan.commit)} exists already and is not what ${request.name} has now; move it away or delete it`,
  );
}

/** What stands at `target` whole, if it is of the planned commit and the planned files of it. */
function completeAt(
  target: string,
  plan: Pick<Plan, 'commit' | 'files'> | null,
  store: DownloadStore,
): StoredDownload | null {
  const there = store.at(target);
  if (there?.state !== 'complete' || !isWhole(there)) return null;
  if (plan === null) return there;
  const isTheSame =
    there.commit === plan.commit &&
    there.files.length === plan.files.length &&
    there.files.every(({ path: file }, index) => file === plan.files[index]?.path);
  return isTheSame ? there : null;
}

/** What an earlier plan has left in the work folder and this one does not need must not become part of the model. */
function removeStrays({ files }: StoredDownload, workFolder: string): void {
  const names = new Set(files.map(({ path: file }) => path.posix.basename(file)));
  for (const entry of readdirSync(workFolder)) {
    const name = entry.endsWith(partSuffix) ? entry.slice(0, -partSuffix.length) : entry;
    if (!names.has(name) && entry !== lockFileName) {
      rmSync(path.join(workFolder, entry), { recursive: true, force: true });
    }
  }
}

async function fetchFiles(
  connection: HubConnection,
  download: StoredDownload,
  workFolder: string,
  { store, onProgress, onMessage, border }: DownloadOptions,
): Promise<number> {
  const bytesTotal = bytesOfFiles(download.files);
  let bytesBefore = 0;
  let bytesTransferred = 0;
  for (const [index, file] of download.files.entries()) {
    const name = path.posix.basename(file.path);
    const place = path.join(workFolder, name);
    const isThere = file.isDone && statSync(place, { throwIfNoEntry: false })?.size === file.bytes;
    if (!isThere) {
      // Under its name, but not known to be whole: the process ended just then.
      if (existsSync(place)) renameSync(place, place + partSuffix);
      await transferFile(connection, {
        address: fileAddress(connection, download.name, download.commit, file.path),
        what: `${download.name}: ${file.path}`,
        file,
        partPath: place + partSuffix,
        etag: file.etag,
        onEtag: (etag) => store.setEtag(download.path, file.path, etag),
        onBytes(done, transferred) {
          bytesTransferred += transferred;
          onProgress({
            stage: 'transfer',
            file: { index, count: download.files.length, name },
            bytesDone: bytesBefore + done,
            bytesTotal,
            bytesTransferred,
          });
        },
        onMessage,
        border,
      });
      renameDurably(place + partSuffix, place);
      store.setFileDone(download.path, file.path);
    }
    bytesBefore += file.bytes;
  }
  return bytesTransferred;
}

/** Gives the model its name; the lock goes with the work folder. */
function takePlace({ path: target, file }: StoredDownload, workFolder: string): void {
  if (file === null) {
    renameDurably(workFolder, target);
    rmSync(path.join(target, lockFileName), { force: true });
    return;
  }
  renameDurably(path.join(workFolder, path.posix.basename(file)), target);
  rmSync(workFolder, { recursive: true, force: true });
  syncFolder(path.dirname(target));
}

function checkDisk(download: StoredDownload, workFolder: string): void {
  const present = download.files.reduce((bytes, file) => {
    const place = path.join(workFolder, path.posix.basename(file.path));
    const size = (entry: string) => statSync(entry, { throwIfNoEntry: false })?.size ?? 0;
    return bytes + Math.min(file.bytes, size(place) + size(place + partSuffix));
  }, 0);
  const missing = bytesOfFiles(download.files) - present;
  let free: number;
  try {
    free = freeBytes(workFolder);
  } catch (cause) {
    throw fileError(cause, 'find its free space', workFolder);
  }
  if (missing + hubLimits.diskReserveBytes > free) {
    throw new DBellError(
      'disk-full',
      `${path.dirname(workFolder)} has ${formatBytes(free)} free; ${download.name} needs ${formatBytes(missing)} more, and ${formatBytes(hubLimits.diskReserveBytes)} should stay free; make room or choose another folder`,
    );
  }
}

function resultOf(download: StoredDownload, transferredBytes: number, wasThere: boolean): DownloadResult {
  return {
    name: download.name,
    revision: download.revision,
    commit: download.commit,
    license: download.license,
    path: download.path,
    bytes: bytesOfFiles(download.files),
    transferredBytes,
    files: download.files.map((file) => ({
      name: path.posix.basename(file.path),
      bytes: file.bytes,
      hash: file.hash,
    })),
    wasThere,
  };
}
