import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { WebSocket } from 'ws';
import { type Client, createClient } from '../../engine/contract/client.ts';
import type { ServiceEvent } from '../../engine/contract/events.ts';
import { type Greeting, webSocketPath } from '../../engine/contract/greeting.ts';
import { createPortTransport } from '../../engine/contract/port.ts';
import { childProcessHost } from '../../engine/service/process-host.ts';
import { createService, type Service } from '../../engine/service/service.ts';
import { createSessions, type Sessions } from '../../engine/service/web-server/sessions.ts';
import { loadStaticFiles } from '../../engine/service/web-server/static-files.ts';
import { startWebServer, type WebServer } from '../../engine/service/web-server/web-server.ts';
import { webSocketPort } from '../../engine/service/web-server/web-socket-port.ts';

/** A running browser mode over a small page, for tests of what it lets in. */
export interface WebFixture {
  server: WebServer;
  service: Service;
  sessions: Sessions;
  home: string;
  close(): Promise<void>;
}

/** A page with the kinds of files that a build has, one of them of a kind that is not served. */
export function writePage(folder: string): void {
  mkdirSync(path.join(folder, 'assets'), { recursive: true });
  writeFileSync(path.join(folder, 'index.html'), '<!doctype html><title>page</title>');
  writeFileSync(path.join(folder, 'assets', 'index-1.js'), 'export {};');
  writeFileSync(path.join(folder, 'assets', 'index-1.js.map'), '{}');
}

export async function startWebFixture(): Promise<WebFixture> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-web-'));
  const page = path.join(folder, 'page');
  const home = path.join(folder, 'home');
  writePage(page);
  writeFileSync(path.join(folder, 'secret.html'), 'secret');
  const service = createService({ home, processHost: childProcessHost });
  const sessions = createSessions(randomBytes(32));
  const server = await startWebServer({ service, sessions, files: await loadStaticFiles(page) });
  return {
    server,
    service,
    sessions,
    home,
    async close() {
      await server.close();
      await service.close();
    },
  };
}

export interface Opened {
  socket: WebSocket;
  session: string;
  client: Client;
  /** All that came, from the first on. */
  events: ServiceEvent[];
}

/** What became of a socket: its close code, or the HTTP status that refused it. */
export type Refusal = { closeCode: number } | { status: number };

/** Opens a socket as a page of `origin` would, greets, and speaks the contract. Throws a Refusal. */
export function openClient(
  server: { origin: string },
  greeting: Greeting | string,
  headers: { origin?: string; host?: string; path?: string } = {},
): Promise<Opened> {
  const url = `${server.origin.replace('http', 'ws')}${headers.path ?? webSocketPath}`;
  const socket = new WebSocket(url, {
    origin: headers.origin ?? server.origin,
    ...(headers.host === undefined ? {} : { headers: { host: headers.host } }),
  });
  return new Promise((resolve, reject) => {
    socket.on('error', () => {});
    socket.on('unexpected-response', (_, response) => reject({ status: response.statusCode }));
    socket.once('close', (closeCode) => reject({ closeCode }));
    socket.once('open', () =>
      socket.send(typeof greeting === 'string' ? greeting : JSON.stringify(greeting)),
    );
    socket.once('message', (data) => {
      const { session } = JSON.parse(String(data));
      const client = createClient(createPortTransport(webSocketPort(socket)));
      const events: ServiceEvent[] = [];
      client.onEvent((event) => events.push(event));
      resolve({ socket, session, client, events });
    });
  });
}
