import { createHash, type Hash } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { DBellError } from '../contract/errors.ts';
import { fileError } from '../files/errors.ts';
import { beforeFileOperation } from '../files/faults.ts';
import { bodyChunks, type HubConnection, request, waitBeforeRetry } from './connection.ts';
import { refusalOf, TransientFailure } from './failures.ts';
import type { RepositoryFile } from './repository-file.ts';

export interface TransferOptions {
  /** Where the file's content is. */
  address: string;
  /** `a/b: model.safetensors`, for messages. */
  what: string;
  file: RepositoryFile;
  /** Holds the bytes so far; made if it is not there. */
  partPath: string;
  /** Strong validator under which these bytes were sent. */
  etag: string | null;
  onEtag(etag: string | null): void;
  /** Called after every piece: bytes of the file that are here, and bytes of them that this piece brought over the network. */
  onBytes(done: number, transferred: number): void;
  /** Something a person should know: the file changed, the server cannot resume. */
  onMessage(message: string): void;
  /** Holds while paused; throws `stopped`. */
  border(): Promise<void>;
}

/** Bytes hashed at a time when what is here already is read again. */
const hashChunkBytes = 4 * 2 ** 20;

/**
 * Fetches a file into `partPath`: goes on behind the bytes that are there by `Range` with `If-Range`, begins anew where the server has another file by
 * now, tries again where the connection breaks, and holds the whole against its hash. When it returns the file is complete and on disk.
 *
 * @throws DBellError `damaged-download` (length or hash; the part is deleted), `network-error` (the part stays), `access-denied`, `not-found`, `disk-full`,
 * `disk-error`, `stopped`
 */
export async function transferFile(connection: HubConnection, options: TransferOptions): Promise<void> {
  const part = new PartFile(options);
  try {
    await part.readWhatIsThere(options.border);
    options.onBytes(part.size, 0);
    await fillPart(connection, options, part);
    if (!part.matches() && part.pieces > 1) {
      // A piece that was written before a power cut, or sent by another server, may be the reason; a file that came in one is what the server has.
      options.onMessage(`${options.what}: the resumed file is not what the server lists; it is fetched anew`);
      part.startAnew();
      options.onBytes(0, 0);
      await fillPart(connection, options, part);
    }
    if (!part.matches()) {
      part.remove();
      throw new DBellError(
        'damaged-download',
        `${options.what}: the content does not have the ${part.hashName} that the server lists (${options.file.hash.value.slice(0, 12)}…); it was damaged on its way or changed meanwhile. Try again, or choose another server`,
      );
    }
    part.sync();
  } finally {
    part.close();
  }
}

/** Asks until the file has its whole length. */
async function fillPart(connection: HubConnection, options: TransferOptions, part: PartFile): Promise<void> {
  let etag = part.size > 0 ? options.etag : null;
  let furthest = part.size;
  let attempt = 0;
  while (part.size < options.file.bytes) {
    try {
      await options.border();
      await receive(connection, options, part, etag, (sent) => {
        etag = sent;
        options.onEtag(sent);
      });
    } catch (error) {
      // A server that begins anew each time gets nowhere, however much it sends.
      attempt = part.size > furthest ? 1 : attempt + 1;
      furthest = Math.max(furthest, part.size);
      await waitBeforeRetry(connection, error, attempt);
    }
  }
}

/** One request: appends what it brings. `onEtag` hears the validator of it before its first byte. */
async function receive(
  connection: HubConnection,
  options: TransferOptions,
  part: PartFile,
  etag: string | null,
  onEtag: (etag: string | null) => void,
): Promise<void> {
  const { what, file } = options;
  const from = part.size;
  const response = await request(connection, options.address, {
    what,
    headers: {
      // Compressed on the way, ranges and lengths would be those of something else.
      'accept-encoding': 'identity',
      ...(from > 0 ? { range: `bytes=${from}-`, ...(etag === null ? {} : { 'if-range': etag }) } : {}),
    },
  });
  const now = strongEtag(response.headers.get('etag'));
  if (response.status === 416 && from > 0) {
    await response.body?.cancel().catch(() => {});
    part.startAnew();
    options.onBytes(0, 0);
    throw new TransientFailure(`${what}: the server does not continue the file at byte ${from}`);
  }
  if (response.status !== 200 && response.status !== 206) {
    const refusal = await refusalOf(response, connection, what);
    // A signed address of a file server that has run out; the next attempt gets a new one.
    const isElsewhere = URL.parse(response.url)?.origin !== new URL(connection.endpoint).origin;
    throw isElsewhere && response.status === 403
      ? new TransientFailure(refusal.message, { cause: refusal })
      : refusal;
  }
  const cancel = () => response.body?.cancel().catch(() => {});
  if (response.status === 206) {
    const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(response.headers.get('content-range') ?? '');
    const isAnother = etag !== null && now !== null && now !== etag;
    if (range === null || Number(range[1]) !== from || isAnother) {
      await cancel();
      part.startAnew();
      options.onBytes(0, 0);
      if (isAnother) options.onMessage(`${what} has changed on the server; it is fetched anew`);
      throw new TransientFailure(`${what}: the server continues at another place than it was asked to`);
    }
    await checkLength(range[3] === '*' ? null : Number(range[3]), options, cancel);
  } else {
    if (from > 0) {
      options.onMessage(
        etag !== null && now !== null && now !== etag
          ? `${what} has changed on the server; it is fetched anew`
          : `${what}: the server cannot resume; the file is fetched anew`,
      );
      part.startAnew();
      options.onBytes(0, 0);
    }
    const length = response.headers.get('content-length');
    const isPlain = (response.headers.get('content-encoding') ?? 'identity') === 'identity';
    await checkLength(isPlain && length !== null ? Number(length) : null, options, cancel);
  }
  onEtag(now);
  part.beginPiece();
  const { signal, times } = connection;
  for await (const chunk of bodyChunks(response, { signal, stallMs: times.stallMs, what })) {
    if (part.size + chunk.length > file.bytes) {
      part.remove();
      throw damaged(options, `sends more than the ${file.bytes} bytes that it lists`);
    }
    part.append(chunk);
    options.onBytes(part.size, chunk.length);
    await options.border();
  }
  if (part.size < file.bytes) {
    throw new TransientFailure(`${what}: the connection ended after ${part.size} of ${file.bytes} bytes`);
  }
}

async function checkLength(
  length: number | null,
  options: TransferOptions,
  cancel: () => unknown,
): Promise<void> {
  if (length === null || length === options.file.bytes) return;
  await cancel();
  throw damaged(options, `has a file of ${length} bytes where it lists ${options.file.bytes}`);
}

function damaged({ what }: TransferOptions, does: string): DBellError {
  return new DBellError(
    'damaged-download',
    `${what}: the server ${does}; the file changed meanwhile, or the server is not to be trusted. Try again, or choose another server`,
  );
}

/** A validator that means the same bytes; weak ones do not (RFC 9110, 8.8.1). */
function strongEtag(header: string | null): string | null {
  return header !== null && /^"[\x21\x23-\x7e\x80-\xff]{1,200}"$/.test(header) ? header : null;
}

/** The bytes so far, with their hash kept along. */
class PartFile {
  readonly #path: string;
  readonly #file: RepositoryFile;
  readonly #descriptor: number;
  #isOpen = true;
  #hash: Hash;
  #size = 0;
  #pieces = 0;

  constructor({ partPath, file }: TransferOptions) {
    this.#path = partPath;
    this.#file = file;
    this.#hash = this.#newHash();
    try {
      this.#descriptor = openSync(
        partPath,
        statSync(partPath, { throwIfNoEntry: false }) ? 'r+' : 'wx+',
        0o644,
      );
    } catch (cause) {
      throw fileError(cause, 'open', partPath);
    }
  }

  get size(): number {
    return this.#size;
  }

  /** Answers that the bytes so far came in; those of an earlier process count as one. */
  get pieces(): number {
    return this.#pieces;
  }

  get hashName(): string {
    return this.#file.hash.kind === 'sha256' ? 'SHA-256' : 'SHA-1 (as git counts it)';
  }

  /** A hash in the middle of its work cannot be kept on disk: what is there is read once more. */
  async readWhatIsThere(border: () => Promise<void>): Promise<void> {
    const stored = statSync(this.#path).size;
    this.#pieces = stored > 0 ? 1 : 0;
    if (stored > this.#file.bytes) {
      this.startAnew();
      return;
    }
    const buffer = new Uint8Array(Math.min(hashChunkBytes, Math.max(stored, 1)));
    try {
      while (this.#size < stored) {
        const got = readSync(this.#descriptor, buffer, 0, buffer.length, this.#size);
        if (got === 0) break;
        this.#hash.update(buffer.subarray(0, got));
        this.#size += got;
        await border();
      }
    } catch (cause) {
      throw fileError(cause, 'read', this.#path);
    }
  }

  beginPiece(): void {
    this.#pieces++;
  }

  append(bytes: Uint8Array): void {
    try {
      let done = 0;
      while (done < bytes.length) {
        beforeFileOperation('write', this.#path, bytes.length - done);
        done += writeSync(this.#descriptor, bytes, done, bytes.length - done, this.#size + done);
      }
    } catch (cause) {
      throw fileError(cause, 'write', this.#path);
    }
    this.#hash.update(bytes);
    this.#size += bytes.length;
  }

  startAnew(): void {
    ftruncateSync(this.#descriptor, 0);
    this.#hash = this.#newHash();
    this.#size = 0;
    this.#pieces = 0;
  }

  matches(): boolean {
    return this.#hash.copy().digest('hex') === this.#file.hash.value;
  }

  sync(): void {
    try {
      beforeFileOperation('sync', this.#path);
      fsyncSync(this.#descriptor);
    } catch (cause) {
      throw fileError(cause, 'flush to disk', this.#path);
    }
  }

  remove(): void {
    rmSync(this.#path, { force: true });
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    closeSync(this.#descriptor);
  }

  #newHash(): Hash {
    if (this.#file.hash.kind === 'sha256') return createHash('sha256');
    // How git names a blob: its kind and length stand before its bytes.
    return createHash('sha1').update(`blob ${this.#file.bytes}\0`);
  }
}
