import { createHash } from 'node:crypto';
import { closeSync, fstatSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs';
import { DBellError } from '../contract/errors.ts';
import { fileError } from '../files/errors.ts';
import { beforeFileOperation } from '../files/faults.ts';

/**
 * Arrays of all windows in one file, each in a slot of fixed size, read and written window by window: `[windowCount, valuesPerWindow]` float32, little-endian.
 */
export class WindowFile {
  readonly path: string;
  readonly windowCount: number;
  readonly valuesPerWindow: number;
  private readonly descriptor: number;
  private readonly buffer: Float32Array;
  private readonly hash = createHash('sha256');
  private readonly hashed: boolean;
  private nextWritten = 0;

  private constructor(
    filePath: string,
    windowCount: number,
    valuesPerWindow: number,
    mode: 'r' | 'w+',
    hashed: boolean,
  ) {
    this.path = filePath;
    this.windowCount = windowCount;
    this.valuesPerWindow = valuesPerWindow;
    this.hashed = hashed;
    this.buffer = new Float32Array(valuesPerWindow);
    try {
      this.descriptor = openSync(filePath, mode);
    } catch (cause) {
      throw fileError(cause, 'open', filePath);
    }
  }

  /** A new file whose content is hashed while it is written; what stood there is gone. */
  static create(filePath: string, windowCount: number, valuesPerWindow: number): WindowFile {
    return new WindowFile(filePath, windowCount, valuesPerWindow, 'w+', true);
  }

  /** A new file for what is needed only until the block is done: no hash, never resumed. */
  static createScratch(filePath: string, windowCount: number, valuesPerWindow: number): WindowFile {
    return new WindowFile(filePath, windowCount, valuesPerWindow, 'w+', false);
  }

  /**
   * Opens a complete file of an earlier run and checks that its bytes are those that were recorded.
   * @throws DBellError `invalid-checkpoint` where it is missing, too short or changed
   */
  static open(filePath: string, windowCount: number, valuesPerWindow: number, sha256: string): WindowFile {
    let file: WindowFile;
    try {
      file = new WindowFile(filePath, windowCount, valuesPerWindow, 'r', false);
    } catch (cause) {
      throw damaged(filePath, 'cannot be opened', cause);
    }
    try {
      const bytes = fstatSync(file.descriptor).size;
      const expected = windowCount * valuesPerWindow * 4;
      if (bytes !== expected) throw damaged(filePath, `has ${bytes} bytes where ${expected} belong`);
      const hash = createHash('sha256');
      for (let window = 0; window < windowCount; window += 1) hash.update(asBytes(file.read(window)));
      if (hash.digest('hex') !== sha256)
        throw damaged(filePath, 'does not hold what was written (SHA-256 differs)');
    } catch (cause) {
      file.close();
      throw cause;
    }
    return file;
  }

  /** Values of one window; the array is the file's own and is overwritten by the next read. */
  read(window: number): Float32Array {
    const values = this.buffer;
    let complete: boolean;
    try {
      complete = readFully(this.descriptor, asBytes(values), window * this.valuesPerWindow * 4);
    } catch (cause) {
      throw fileError(cause, 'read', this.path);
    }
    if (!complete) throw damaged(this.path, `ends before window ${window}`);
    return values;
  }

  /** Writes one window; windows come in order, each once. */
  write(window: number, values: Float32Array): void {
    if (values.length !== this.valuesPerWindow || window !== this.nextWritten) {
      throw new DBellError(
        'internal',
        `hidden states ${this.path}: window ${window} of ${values.length} values where window ${this.nextWritten} of ${this.valuesPerWindow} belongs`,
      );
    }
    try {
      beforeFileOperation('write', this.path, values.byteLength);
      writeFully(this.descriptor, asBytes(values), window * this.valuesPerWindow * 4);
    } catch (cause) {
      throw fileError(cause, 'write', this.path);
    }
    if (this.hashed) this.hash.update(asBytes(values));
    this.nextWritten += 1;
  }

  /** Makes what was written durable and gives its SHA-256. */
  seal(): string {
    try {
      beforeFileOperation('sync', this.path);
      fsyncSync(this.descriptor);
    } catch (cause) {
      throw fileError(cause, 'flush to disk', this.path);
    }
    return this.hash.digest('hex');
  }

  close(): void {
    closeSync(this.descriptor);
  }
}

function asBytes(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

function damaged(filePath: string, what: string, cause?: unknown): DBellError {
  return new DBellError(
    'invalid-checkpoint',
    `checkpoint file ${filePath} ${what}; delete the .partial folder and start again`,
    { cause },
  );
}

/** Writes all of `bytes` at `position`, however many calls the system needs. */
function writeFully(descriptor: number, bytes: Uint8Array, position: number): void {
  let done = 0;
  while (done < bytes.byteLength) {
    done += writeSync(descriptor, bytes, done, bytes.byteLength - done, position + done);
  }
}

/** Fills `bytes` from `position`; false where the file ends before. */
function readFully(descriptor: number, bytes: Uint8Array, position: number): boolean {
  let done = 0;
  while (done < bytes.byteLength) {
    const count = readSync(descriptor, bytes, done, bytes.byteLength - done, position + done);
    if (count === 0) return false;
    done += count;
  }
  return true;
}
