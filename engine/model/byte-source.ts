import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { DBellError } from '../contract/errors.ts';

/** Bytes that are read by position; a file or, for tests and fuzzing, an array. Positions are exact up to 2^53. */
export interface ByteSource {
  /** File name for messages. */
  readonly name: string;
  readonly size: number;
  /** Fills `target` from `position`. Throws DBellError `invalid-model` when the file ends before that, or is not the one any more that was opened. */
  readInto(position: number, target: Uint8Array): void;
  close(): void;
}

/** One read call moves less than 2^31 bytes on every platform. */
const MAX_READ_BYTES = 2 ** 30;

/**
 * A regular file, opened read-only. One that is written to while it is open is refused from then on: half of a model's weights would be another's. A file that is
 * replaced by rename or deleted stays what it was, for whoever has it open.
 */
export class FileSource implements ByteSource {
  readonly name: string;
  readonly size: number;
  #descriptor: number | null;
  readonly #changedAtMs: number;

  constructor(path: string, name: string) {
    this.name = name;
    try {
      this.#descriptor = openSync(path, 'r');
    } catch (cause) {
      throw new DBellError('disk-error', `${name} cannot be opened: ${(cause as Error).message}`, { cause });
    }
    const stats = fstatSync(this.#descriptor);
    if (!stats.isFile()) {
      closeSync(this.#descriptor);
      throw new DBellError('invalid-model', `${name} is not a regular file`);
    }
    this.size = stats.size;
    this.#changedAtMs = stats.mtimeMs;
  }

  readInto(position: number, target: Uint8Array): void {
    if (this.#descriptor === null)
      throw new DBellError('internal', `${this.name} was closed and is read again`);
    let done = 0;
    while (done < target.length) {
      const length = Math.min(target.length - done, MAX_READ_BYTES);
      let got: number;
      try {
        got = readSync(this.#descriptor, target, done, length, position + done);
      } catch (cause) {
        throw new DBellError('disk-error', `${this.name} cannot be read: ${(cause as Error).message}`, {
          cause,
        });
      }
      if (got === 0)
        throw new DBellError(
          'invalid-model',
          `${this.name} ends at byte ${position + done}, before byte ${position + target.length}; it was changed or cut while in use`,
        );
      done += got;
    }
    const stats = fstatSync(this.#descriptor);
    if (stats.size !== this.size || stats.mtimeMs !== this.#changedAtMs)
      throw new DBellError(
        'invalid-model',
        `${this.name} was written to at ${stats.mtime.toISOString()}, while it was in use, so that what was read of it does not belong together; start again when nothing changes it`,
      );
  }

  close(): void {
    if (this.#descriptor !== null) closeSync(this.#descriptor);
    this.#descriptor = null;
  }
}

/** Bytes in memory. */
export class MemorySource implements ByteSource {
  readonly name: string;
  readonly size: number;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array, name = 'bytes') {
    this.name = name;
    this.size = bytes.length;
    this.#bytes = bytes;
  }

  readInto(position: number, target: Uint8Array): void {
    if (position < 0 || position + target.length > this.size)
      throw new DBellError('invalid-model', `${this.name} ends before byte ${position + target.length}`);
    target.set(this.#bytes.subarray(position, position + target.length));
  }

  close(): void {}
}

export function readBytes(source: ByteSource, position: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  source.readInto(position, bytes);
  return bytes;
}
