import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { type Browser, chromium, type Page } from '@playwright/test';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Port } from '../../engine/contract/port.ts';
import { securityHeaders } from '../../engine/service/web-server/security-headers.ts';
import { loadStaticFiles } from '../../engine/service/web-server/static-files.ts';
import { buildComputePage } from '../../scripts/desktop/build.ts';
import { browserPath } from './browser.ts';
import { decode, encode } from './typed-array-messages.ts';

/** WebGPU on the processor, in a Chromium without a window. */
const browserArguments = [
  '--no-sandbox',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--enable-unsafe-webgpu',
  '--enable-webgpu-developer-features',
  '--use-webgpu-adapter=swiftshader',
];

export interface GpuWindow {
  page: Page;
  /** To the page as it is in the desktop, and to one with calls for single kernels. */
  device: Port;
  checks: Port;
  /** What the page complained of. */
  problems: string[];
  close(): Promise<void>;
}

/** The page of the desktop's hidden window, built as for the desktop and under its policy, in Chromium. */
export async function openGpuWindow(): Promise<GpuWindow> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-gpu-window-'));
  await buildComputePage(folder, path.join(import.meta.dirname, 'gpu-page.ts'));
  const files = await loadStaticFiles(folder);
  const server = createServer(({ url }, response) => {
    const file = files.get(url ?? '');
    response.writeHead(file ? 200 : 404, {
      ...securityHeaders,
      ...(file ? { 'content-type': file.contentType } : {}),
    });
    response.end(file?.bytes);
  });
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const sockets = new WebSocketServer({ server });
  const ports = new Map<string, PromiseWithResolvers<Port>>(
    ['/device', '/checks'].map((name) => [name, Promise.withResolvers<Port>()]),
  );
  sockets.on('connection', (socket, { url }) => ports.get(url ?? '')?.resolve(portOf(socket)));
  const browser = await chromium.launch({ executablePath: browserPath!, args: browserArguments });
  const page = await browser.newPage();
  const problems: string[] = [];
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') problems.push(message.text());
  });
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  return {
    page,
    device: await ports.get('/device')!.promise,
    checks: await ports.get('/checks')!.promise,
    problems,
    close: () => closeAll(browser, sockets, server, folder),
  };
}

async function closeAll(browser: Browser, sockets: WebSocketServer, server: Server, folder: string) {
  await browser.close();
  sockets.close();
  server.close();
  rmSync(folder, { recursive: true, force: true });
}

function portOf(socket: WebSocket): Port {
  socket.binaryType = 'arraybuffer';
  return {
    send: (message) => socket.send(encode(message)),
    onMessage: (listener) => void socket.on('message', (data: ArrayBuffer) => listener(decode(data))),
    onClose: (listener) => void socket.on('close', () => listener()),
    close: () => socket.close(),
  };
}
