import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A server that speaks like the Hugging Face Hub, and misbehaves as told. Big files come from a second server, as the Hub's do. */

/** What happens to one request for a file's content; without one it is answered as it should be. */
export interface Misbehaviour {
  /** Sends this many bytes of the body and cuts the connection. */
  cutAfter?: number;
  /** Sends this many bytes and then nothing more. */
  stallAfter?: number;
  /** Answers with this status and no content. */
  status?: number;
  headers?: Record<string, string>;
  /** Sends the whole file whatever was asked for. */
  ignoresRange?: boolean;
  /** Answers 206 for another place than was asked for. */
  shiftsRangeBy?: number;
  /** Has this content (and a validator for it) instead. */
  content?: Buffer;
  /** Announces this total length; null: none. */
  announcedLength?: number | null;
  /** Leads there instead. */
  location?: string;
  /** No validator, or another one. */
  etag?: string | null;
}

export interface FakeFile {
  content: Buffer;
  /** Kept as a large file: SHA-256 in the listing, content from the second server. */
  isLarge: boolean;
}

export interface FakeRepository {
  files: Record<string, FakeFile>;
  commit: string;
  license?: string;
  gated?: false | 'auto' | 'manual';
  /** Whoever has not this token gets 401. */
  token?: string;
  modelType?: string;
  tags?: string[];
  downloads?: number;
  safetensors?: { parameters: Record<string, number>; total: number };
  /** Sizes or hashes that the listing gets wrong. */
  lies?: Record<string, { size?: number; hash?: string }>;
}

export interface SeenRequest {
  server: 'hub' | 'files';
  path: string;
  headers: IncomingMessage['headers'];
}

export const commitOf = (text: string) => createHash('sha1').update(text).digest('hex');

export class FakeHub {
  readonly repositories = new Map<string, FakeRepository>();
  readonly requests: SeenRequest[] = [];
  /** Misbehaviours to come, by the file's name; each is used once, or always where it is a single one. */
  readonly turns = new Map<string, Misbehaviour[] | Misbehaviour>();
  /** Answers to the programming interface, by a part of the path; used once each. */
  readonly apiTurns: { part: string; status: number; headers?: Record<string, string>; body?: string }[] = [];
  /** Entries of one page of a listing. */
  pageSize = 1000;
  /** Bytes a second of file content; 0 = as fast as it goes. */
  bytesPerSecond = 0;
  readonly #hub: Server;
  readonly #files: Server;

  private constructor() {
    this.#hub = createServer((request, response) => this.#answer('hub', request, response));
    this.#files = createServer((request, response) => this.#answer('files', request, response));
  }

  static async start(): Promise<FakeHub> {
    const hub = new FakeHub();
    for (const server of [hub.#hub, hub.#files]) {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    }
    return hub;
  }

  async stop(): Promise<void> {
    for (const server of [this.#hub, this.#files]) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#hub.address() as AddressInfo).port}`;
  }

  get filesOrigin(): string {
    return `http://127.0.0.1:${(this.#files.address() as AddressInfo).port}`;
  }

  /** Requests for a file's content, in order; those to the second server where the file is large. */
  contentRequests(name: string): SeenRequest[] {
    const found = this.requests.filter(({ path }) => path.includes('/resolve/') && path.endsWith(`/${name}`));
    const large = found.filter(({ server }) => server === 'files');
    return large.length > 0 ? large : found;
  }

  #answer(server: 'hub' | 'files', request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', 'http://fake');
    this.requests.push({ server, path: decodeURIComponent(url.pathname), headers: request.headers });
    try {
      if (url.pathname.startsWith('/api/')) this.#api(url, request, response);
      else this.#content(server, url, request, response);
    } catch (error) {
      response.writeHead(500).end(String(error));
    }
  }

  #api(url: URL, request: IncomingMessage, response: ServerResponse): void {
    const turn = this.apiTurns.findIndex(({ part }) => (url.pathname + url.search).includes(part));
    if (turn >= 0) {
      const [{ status, headers, body }] = this.apiTurns.splice(turn, 1) as [(typeof this.apiTurns)[number]];
      response.writeHead(status, headers).end(body);
      return;
    }
    const json = (value: unknown, headers: Record<string, string> = {}) =>
      response.writeHead(200, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));
    const parts = decodeURIComponent(url.pathname).split('/').slice(3);
    if (parts.length === 0) {
      const query = url.searchParams.get('search')?.toLowerCase() ?? '';
      const found = [...this.repositories].filter(([name]) => name.toLowerCase().includes(query));
      json(
        found
          .map(([name, repository]) => this.#info(name, repository))
          .slice(0, Number(url.searchParams.get('limit'))),
      );
      return;
    }
    const kind = parts.findIndex((part) => part === 'revision' || part === 'tree');
    const name = parts.slice(0, kind).join('/');
    const repository = this.#repository(name, request, response);
    if (repository === null) return;
    const revision = parts.slice(kind + 1).join('/');
    if (revision !== 'main' && revision !== repository.commit) {
      response
        .writeHead(404, { 'x-error-code': 'RevisionNotFound', 'x-error-message': 'Invalid rev id' })
        .end();
      return;
    }
    if (parts[kind] === 'revision') {
      json({ ...this.#info(name, repository), sha: repository.commit });
      return;
    }
    const entries = [
      { type: 'directory', path: 'onnx', size: 0, oid: '0'.repeat(40) },
      ...Object.entries(repository.files).map(([path, file]) =>
        listingOf(path, file, repository.lies?.[path]),
      ),
    ];
    const from = Number(url.searchParams.get('cursor') ?? 0);
    const rest = entries.length > from + this.pageSize;
    const next = new URL(`${this.endpoint}${url.pathname}${url.search}`);
    next.searchParams.set('cursor', String(from + this.pageSize));
    json(entries.slice(from, from + this.pageSize), rest ? { link: `<${next}>; rel="next"` } : {});
  }

  #info(name: string, repository: FakeRepository): object {
    return {
      _id: commitOf(name),
      id: name,
      private: repository.token !== undefined,
      gated: repository.gated ?? false,
      downloads: repository.downloads ?? 10,
      likes: 1,
      lastModified: '2026-01-02T03:04:05.000Z',
      tags: [...(repository.tags ?? []), ...(repository.license ? [`license:${repository.license}`] : [])],
      ...(repository.modelType ? { config: { model_type: repository.modelType } } : {}),
      ...(repository.safetensors ? { safetensors: repository.safetensors } : {}),
    };
  }

  #repository(name: string, request: IncomingMessage, response: ServerResponse): FakeRepository | null {
    const repository = this.repositories.get(name);
    const isAllowed =
      repository?.token === undefined || request.headers.authorization === `Bearer ${repository.token}`;
    if (repository && isAllowed) return repository;
    response
      .writeHead(401, { 'x-error-code': 'RepoNotFound', 'x-error-message': 'Repository not found' })
      .end();
    return null;
  }

  #content(server: 'hub' | 'files', url: URL, request: IncomingMessage, response: ServerResponse): void {
    const [owner = '', name = '', resolve, , ...rest] = decodeURIComponent(url.pathname).slice(1).split('/');
    const repository = this.repositories.get(`${owner}/${name}`);
    const path = rest.join('/');
    const file = repository?.files[path];
    if (resolve !== 'resolve' || !repository || !file) {
      response.writeHead(404, { 'x-error-code': 'EntryNotFound' }).end();
      return;
    }
    if (server === 'hub') {
      if (repository.gated && request.headers.authorization === undefined) {
        response
          .writeHead(401, { 'x-error-code': 'GatedRepo', 'x-error-message': 'Access to model is restricted' })
          .end();
        return;
      }
      if (this.#repository(`${owner}/${name}`, request, response) === null) return;
      if (file.isLarge) {
        response.writeHead(302, { location: `${this.filesOrigin}${url.pathname}?signature=x` }).end();
        return;
      }
    }
    this.#send(file, this.#turn(path), request, response);
  }

  #turn(path: string): Misbehaviour {
    const turns = this.turns.get(path);
    return (Array.isArray(turns) ? turns.shift() : turns) ?? {};
  }

  /** At the rate of the moment; the rest at once where that becomes 0. */
  async #trickle(response: ServerResponse, body: Buffer): Promise<void> {
    let from = 0;
    while (from < body.length && this.bytesPerSecond > 0 && !response.destroyed) {
      const step = Math.max(1, Math.round(this.bytesPerSecond / 50));
      response.write(body.subarray(from, from + step));
      from += step;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    response.end(body.subarray(from));
  }

  #send(file: FakeFile, turn: Misbehaviour, request: IncomingMessage, response: ServerResponse): void {
    if (turn.location !== undefined) {
      response.writeHead(302, { location: turn.location }).end();
      return;
    }
    if (turn.status !== undefined) {
      response.writeHead(turn.status, turn.headers).end();
      return;
    }
    const content = turn.content ?? file.content;
    const etag = turn.etag === undefined ? `"${createHash('md5').update(content).digest('hex')}"` : turn.etag;
    const asked = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
    const condition = request.headers['if-range'];
    const isPartial =
      asked !== null && turn.ignoresRange !== true && (condition === undefined || condition === etag);
    const total = turn.announcedLength === undefined ? content.length : turn.announcedLength;
    const begin = isPartial ? Number(asked[1]) + (turn.shiftsRangeBy ?? 0) : 0;
    if (isPartial && begin >= content.length) {
      response.writeHead(416, { 'content-range': `bytes */${content.length}` }).end();
      return;
    }
    const end = isPartial && asked[2] ? Math.min(Number(asked[2]) + 1, content.length) : content.length;
    const body = content.subarray(begin, end);
    response.writeHead(isPartial ? 206 : 200, {
      ...(etag === null ? {} : { etag }),
      ...(isPartial ? { 'content-length': body.length } : total === null ? {} : { 'content-length': total }),
      ...(isPartial ? { 'content-range': `bytes ${begin}-${end - 1}/${total ?? '*'}` } : {}),
      ...turn.headers,
    });
    if (turn.cutAfter !== undefined) {
      response.write(body.subarray(0, turn.cutAfter), () => setTimeout(() => response.destroy(), 20));
    } else if (turn.stallAfter !== undefined) response.write(body.subarray(0, turn.stallAfter));
    else if (this.bytesPerSecond > 0) void this.#trickle(response, body);
    else response.end(body);
  }
}

function listingOf(
  path: string,
  { content, isLarge }: FakeFile,
  lie: { size?: number; hash?: string } = {},
): object {
  const size = lie.size ?? content.length;
  const blob = createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
  if (!isLarge) return { type: 'file', path, size, oid: lie.hash ?? blob };
  const oid = lie.hash ?? createHash('sha256').update(content).digest('hex');
  return {
    type: 'file',
    path,
    size,
    oid: commitOf(path),
    lfs: { oid, size, pointerSize: 130 },
    xetHash: oid,
  };
}
