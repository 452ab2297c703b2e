import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { DBellError } from '../../contract/errors.ts';
import { greetingSchema, refusedCloseCode, webSocketPath } from '../../contract/greeting.ts';
import { serveConnection } from '../connection.ts';
import type { Service } from '../service.ts';
import { securityHeaders } from './security-headers.ts';
import type { Sessions } from './sessions.ts';
import type { StaticFile } from './static-files.ts';
import { webLimits } from './web-limits.ts';
import { parseJson, webSocketPort } from './web-socket-port.ts';

export interface WebServerOptions {
  service: Service;
  sessions: Sessions;
  files: ReadonlyMap<string, StaticFile>;
  /** Address to listen on; anything but 127.0.0.1 is for a person to ask for explicitly. */
  host?: string;
  /** 0 = any free one. */
  port?: number;
}

export interface WebServer {
  /** Such as `http://127.0.0.1:40123`: the only origin that is answered. */
  readonly origin: string;
  close(): Promise<void>;
}

/**
 * Browser mode: the built page over HTTP and the contract over a WebSocket, from one origin. A request that names another host (a rebound DNS name)
 * is refused, a socket from a page of another origin as well; there are no CORS headers. The page itself is no secret; whoever wants to talk to the
 * engine proves by the first message of the socket that the person at this computer let them in.
 */
export async function startWebServer(options: WebServerOptions): Promise<WebServer> {
  const { service, sessions, files, host = '127.0.0.1', port = 0 } = options;
  let authority = '';
  const server = createServer(
    {
      maxHeaderSize: webLimits.headerBytes,
      requestTimeout: webLimits.requestMs,
      headersTimeout: webLimits.requestMs,
    },
    (request, response) => answer(request, response, files, authority),
  );
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: webLimits.messageBytes,
    perMessageDeflate: false,
  });
  server.on('upgrade', (request, socket: Duplex, head: Buffer) => {
    const refusal = refuseUpgrade(request, authority, sockets.clients.size);
    if (refusal !== null) {
      socket.end(`HTTP/1.1 ${refusal}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
      return;
    }
    sockets.handleUpgrade(request, socket, head, (accepted) => greet(accepted, socket, sessions, service));
  });
  const pings = setInterval(() => ping(sockets.clients), webLimits.pingIntervalMs);
  pings.unref();
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => reject(listenError(cause, host, port ?? 0)));
    server.listen({ host, port, exclusive: true }, () => resolve());
  });
  const { port: boundPort } = server.address() as AddressInfo;
  authority = `${host.includes(':') ? `[${host}]` : host}:${boundPort}`;
  return {
    origin: `http://${authority}`,
    async close() {
      clearInterval(pings);
      for (const socket of sockets.clients) socket.terminate();
      sockets.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function answer(
  request: IncomingMessage,
  response: ServerResponse,
  files: ReadonlyMap<string, StaticFile>,
  authority: string,
): void {
  const refuse = (status: number, text: string) => {
    response.writeHead(status, { ...securityHeaders, 'content-type': 'text/plain; charset=utf-8' });
    response.end(`${text}\n`);
  };
  if (request.headers.host !== authority) {
    refuse(421, `This server is http://${authority}.`);
    return;
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    refuse(405, 'Only GET.');
    return;
  }
  // The query is not ours; the path is looked up as it is, without decoding.
  const file = files.get((request.url ?? '').split('?', 1)[0]!);
  if (file === undefined) {
    refuse(404, 'Not found.');
    return;
  }
  response.writeHead(200, {
    ...securityHeaders,
    'content-type': file.contentType,
    'content-length': file.bytes.byteLength,
    'cache-control': file.immutable ? 'public, max-age=31536000, immutable' : 'no-cache',
  });
  response.end(request.method === 'HEAD' ? undefined : file.bytes);
}

/** Status line with which an upgrade is refused; null where it is to be accepted. */
function refuseUpgrade(request: IncomingMessage, authority: string, connections: number): string | null {
  if (request.headers.host !== authority) return '421 Misdirected Request';
  if (request.url !== webSocketPath) return '404 Not Found';
  // A page always sends its origin; what sends none is no page of ours.
  if (request.headers.origin !== `http://${authority}`) return '403 Forbidden';
  if (connections >= webLimits.connections) return '503 Service Unavailable';
  return null;
}

/** The first message decides: a welcome and the contract from there on, or the end. */
function greet(socket: WebSocket, raw: Duplex, sessions: Sessions, service: Service): void {
  // Errors of a socket (a frame too long, a broken connection) end it; its close tells the rest.
  socket.on('error', () => {});
  socket.on('pong', () => answered.add(socket));
  answered.add(socket);
  const refuse = () => socket.close(refusedCloseCode);
  const timer = setTimeout(refuse, webLimits.greetingMs);
  socket.once('close', () => clearTimeout(timer));
  // The longest message that the contract allows is not for those who have not greeted yet: their bytes are counted as they arrive, before there is a message.
  let received = 0;
  const countBytes = (chunk: Buffer) => {
    received += chunk.length;
    if (received > webLimits.greetingBytes) socket.terminate();
  };
  // Before ws itself sees them.
  raw.prependListener('data', countBytes);
  socket.once('message', (data, isBinary) => {
    clearTimeout(timer);
    raw.off('data', countBytes);
    // Counted, but complete before the connection was ended.
    if (received > webLimits.greetingBytes) return;
    const greeting = greetingSchema.safeParse(isBinary ? undefined : parseJson(String(data)));
    const session = greeting.success ? sessions.admit(greeting.data) : null;
    if (session === null) {
      refuse();
      return;
    }
    socket.send(JSON.stringify({ session }));
    serveConnection(service, webSocketPort(socket));
  });
}

const answered = new WeakSet<WebSocket>();

/** Ends the sockets that did not answer since the last time and asks the others. */
function ping(clients: Iterable<WebSocket>): void {
  for (const socket of clients) {
    if (answered.delete(socket)) socket.ping();
    else socket.terminate();
  }
}

/** Why an address cannot be listened on, and what to do. */
function listenError(cause: Error, host: string, port: number): Error {
  const { code } = cause as NodeJS.ErrnoException;
  const refuse = (message: string) => new DBellError('invalid-input', message, { cause });
  if (code === 'EADDRINUSE')
    return refuse(
      `port ${port} of ${host} is taken by another program, maybe another DBell Studio; choose another with --port, or leave it out for any free one`,
    );
  if (code === 'EACCES')
    return refuse(`port ${port} may not be used by you (${code}); choose one from 1024 to 65535 with --port`);
  if (code === 'EADDRNOTAVAIL')
    return refuse(`${host} is no address of this computer (${code}); choose one of its own with --host`);
  return cause;
}
