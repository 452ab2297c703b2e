import {
  closeSync,
  fsyncSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { fileError, systemErrorCode } from './errors.ts';
import { beforeFileOperation } from './faults.ts';
import { isRunning } from './processes.ts';

/** Ends the name of every unfinished file of this layer; such files may be deleted when no writer is alive. */
export const temporarySuffix = '.dbell-tmp';

/** Makes a rename or a new file in `folder` durable; a no-op where the system cannot open folders (Windows). */
export function syncFolder(folder: string): void {
  let descriptor: number;
  try {
    descriptor = openSync(folder, 'r');
  } catch (cause) {
    if (process.platform === 'win32') return;
    throw fileError(cause, 'open the folder', folder);
  }
  try {
    beforeFileOperation('sync', folder);
    fsyncSync(descriptor);
  } catch (cause) {
    // Some network file systems refuse fsync on folders; the rename itself has been done.
    const code = systemErrorCode(cause);
    if (code !== 'EINVAL' && code !== 'EPERM' && code !== 'ENOTSUP') {
      throw fileError(cause, 'flush the folder to disk', folder);
    }
  } finally {
    closeSync(descriptor);
  }
}

/** Renames within a volume and makes it durable. Replaces an existing file; an existing non-empty folder is an error. */
export function renameDurably(from: string, to: string): void {
  try {
    beforeFileOperation('rename', to);
    renameSync(from, to);
  } catch (cause) {
    throw fileError(cause, 'rename into place', to);
  }
  syncFolder(path.dirname(to));
}

/**
 * Files are written in pieces of so many bytes, from multiples of it on. Linux then keeps them in huge pages, as it does what it reads from the disk itself; of a package
 * that was written in small pieces, decoding took 10 to 20% longer as long as it stayed in memory, and its first reading twenty times as long.
 */
const writeBytes = 2 * 1024 * 1024;

/**
 * A file that appears under its name only when complete: written beside it under a temporary name, flushed, renamed. Every method throws
 * DBellError `disk-full` or `disk-error`, at the latest `commit`; after that, or after `abort`, nothing of it remains.
 */
export class AtomicFile {
  readonly path: string;
  readonly temporaryPath: string;
  #descriptor: number | null;
  /** What is not written yet; it belongs at a multiple of `writeBytes`. */
  readonly #pending = new Uint8Array(writeBytes);
  #pendingBytes = 0;
  #position = 0;

  constructor(finalPath: string) {
    this.path = finalPath;
    this.temporaryPath = `${finalPath}.${process.pid}${temporarySuffix}`;
    try {
      this.#descriptor = openSync(this.temporaryPath, 'w', 0o644);
    } catch (cause) {
      throw fileError(cause, 'create', finalPath);
    }
  }

  /** Bytes given so far. */
  get position(): number {
    return this.#position;
  }

  /** Takes bytes, which the caller may change afterwards. */
  write(bytes: Uint8Array): void {
    this.#open();
    let taken = 0;
    while (taken < bytes.byteLength) {
      const left = bytes.byteLength - taken;
      if (this.#pendingBytes === 0 && left >= writeBytes) {
        const whole = left - (left % writeBytes);
        this.#writeNow(bytes.subarray(taken, taken + whole));
        taken += whole;
        continue;
      }
      const count = Math.min(left, writeBytes - this.#pendingBytes);
      this.#pending.set(bytes.subarray(taken, taken + count), this.#pendingBytes);
      this.#pendingBytes += count;
      taken += count;
      if (this.#pendingBytes === writeBytes) this.#writePending();
    }
    this.#position += bytes.byteLength;
  }

  #writePending(): void {
    if (this.#pendingBytes === 0) return;
    this.#writeNow(this.#pending.subarray(0, this.#pendingBytes));
    this.#pendingBytes = 0;
  }

  #writeNow(bytes: Uint8Array): void {
    const descriptor = this.#open();
    try {
      let done = 0;
      while (done < bytes.byteLength) {
        beforeFileOperation('write', this.path, bytes.byteLength - done);
        done += writeSync(descriptor, bytes, done, bytes.byteLength - done);
      }
    } catch (cause) {
      this.abort();
      throw fileError(cause, 'write', this.path);
    }
  }

  /** Flushes, closes and renames into place. */
  commit(): void {
    this.#writePending();
    const descriptor = this.#open();
    try {
      beforeFileOperation('sync', this.path);
      fsyncSync(descriptor);
      this.#descriptor = null;
      // Some file systems report a full disk only here.
      closeSync(descriptor);
      renameDurably(this.temporaryPath, this.path);
    } catch (cause) {
      this.abort();
      throw fileError(cause, 'finish', this.path);
    }
  }

  /** Closes and deletes the temporary file; harmless after `commit`. */
  abort(): void {
    if (this.#descriptor !== null) {
      closeSync(this.#descriptor);
      this.#descriptor = null;
    }
    this.#pendingBytes = 0;
    rmSync(this.temporaryPath, { force: true });
  }

  #open(): number {
    if (this.#descriptor === null) throw new Error(`${this.path} is closed already`);
    return this.#descriptor;
  }
}

/** A writer on another computer, whose processes are not known here, has written to its file since. */
const abandonedAfterMs = 10 * 60 * 1000;

/** Deletes what processes that were killed while they wrote `finalPath` have left beside it. */
export function removeAbandoned(finalPath: string): void {
  const folder = path.dirname(finalPath);
  const prefix = `${path.basename(finalPath)}.`;
  for (const name of readdirSync(folder)) {
    if (!name.startsWith(prefix) || !name.endsWith(temporarySuffix)) continue;
    const pid = name.slice(prefix.length, -temporarySuffix.length);
    const file = path.join(folder, name);
    const changedMs = statSync(file, { throwIfNoEntry: false })?.mtimeMs;
    if (!/^\d+$/.test(pid) || isRunning(Number(pid)) || changedMs === undefined) continue;
    if (Date.now() - changedMs > abandonedAfterMs) rmSync(file, { force: true });
  }
}

/** Writes a whole small file by way of AtomicFile. */
export function writeFileAtomically(finalPath: string, content: Uint8Array | string): void {
  const file = new AtomicFile(finalPath);
  file.write(typeof content === 'string' ? Buffer.from(content, 'utf8') : content);
  file.commit();
}
