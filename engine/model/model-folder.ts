import { lstatSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import path from 'node:path';
import { DBellError } from '../contract/errors.ts';
import { FileSource } from './byte-source.ts';
import { isRecord, JsonError, parseJsonObject } from './json.ts';
import { count, type ProblemList, quote } from './problems.ts';

/**
 * A model's folder, read defensively: links are followed only inside the folder, or from a Hub cache's snapshot into the `blobs` folder beside it
 * (models--a--b/snapshots/REV → ../../blobs/HASH). Only regular files are opened.
 */
export class ModelFolder {
  /** Absolute, links resolved. */
  readonly path: string;
  readonly #allowedRoots: string[];
  readonly #problems: ProblemList;

  constructor(folder: string, problems: ProblemList) {
    this.path = realpathSync(folder);
    this.#problems = problems;
    this.#allowedRoots = [this.path];
    const parts = this.path.split(path.sep);
    const snapshots = parts.lastIndexOf('snapshots');
    if (snapshots > 0) this.#allowedRoots.push([...parts.slice(0, snapshots), 'blobs'].join(path.sep));
  }

  /** Names of the entries, links and broken ones included. */
  names(): string[] {
    try {
      return readdirSync(this.path).sort();
    } catch (cause) {
      throw new DBellError('disk-error', `${this.path} cannot be listed: ${(cause as Error).message}`, {
        cause,
      });
    }
  }

  exists(name: string): boolean {
    try {
      lstatSync(path.join(this.path, name));
      return true;
    } catch {
      return false;
    }
  }

  /** Real path of a regular file in the folder, or null: silently where it does not exist, with a problem where it cannot be used. */
  resolve(name: string): string | null {
    const full = path.join(this.path, name);
    if (!this.exists(name)) return null;
    let real: string;
    try {
      real = realpathSync(full);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === 'ELOOP') this.#problems.error('link-loop', `${name} is a link that leads to itself`);
      else if (code === 'ENOENT' || code === 'ENOTDIR')
        this.#problems.error(
          'link-dangling',
          `${name} is a link to a file that is not there; download the model again or connect the drive it lies on`,
        );
      else this.#problems.error('unreadable', `${name} cannot be read: ${message}`);
      return null;
    }
    if (!this.#allowedRoots.some((root) => real.startsWith(root + path.sep))) {
      this.#problems.error(
        'link-outside',
        `${name} is a link out of the model's folder, to ${real}; copy the file instead`,
      );
      return null;
    }
    if (!statSync(real).isFile()) {
      this.#problems.error('not-a-file', `${name} is not a regular file`);
      return null;
    }
    return real;
  }

  /** Opens a weight file; null where it does not exist or cannot be used. */
  open(name: string): FileSource | null {
    const real = this.resolve(name);
    if (real === null) return null;
    try {
      return new FileSource(real, name);
    } catch (error) {
      this.#problems.error('unreadable', (error as Error).message);
      return null;
    }
  }

  /** Whole bytes of a small file; null where it does not exist or cannot be used. */
  read(name: string, maxBytes: number): Uint8Array | null {
    const real = this.resolve(name);
    if (real === null) return null;
    const { size } = statSync(real);
    if (size > maxBytes) {
      this.#problems.error(
        'file-too-large',
        `${name} has ${count(size)} bytes, more than the limit of ${count(maxBytes)}`,
      );
      return null;
    }
    try {
      return readFileSync(real);
    } catch (error) {
      this.#problems.error('unreadable', `${name} cannot be read: ${(error as Error).message}`);
      return null;
    }
  }

  /** A JSON object; null where the file does not exist or, with a problem, where it is none. */
  readJson(
    name: string,
    maxBytes: number,
    options?: { uniqueDepth?: number },
  ): Record<string, unknown> | null {
    const bytes = this.read(name, maxBytes);
    if (bytes === null) return null;
    try {
      const value = parseJsonObject(bytes, options);
      return isRecord(value) ? value : null;
    } catch (error) {
      if (!(error instanceof JsonError)) throw error;
      this.#problems.error('json-damaged', `${quote(name).slice(1, -1)} ${error.message}`);
      return null;
    }
  }
}
