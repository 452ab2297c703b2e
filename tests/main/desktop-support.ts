import { EventEmitter } from 'node:events';
import { mkdirSync, mkdtempSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { vi } from 'vitest';
import { type Client, createClient } from '../../engine/contract/client.ts';
import { createPortTransport, type Port } from '../../engine/contract/port.ts';
import { loadStaticFiles } from '../../engine/service/web-server/static-files.ts';
import { appOrigin } from '../../main/desktop/app-protocol.ts';
import { type DesktopLayout, startDesktop } from '../../main/desktop/desktop.ts';
import { createDesktopApi } from '../../main/preload/api.ts';
import { pushChannels } from '../../main/preload/push-channels.ts';
import { writePage } from '../engine/web-support.ts';
import { createElectronFake, type ElectronFake } from './electron-fake.ts';

const root = path.resolve(import.meta.dirname, '..', '..');

export interface Desktop {
  fake: ElectronFake;
  folder: string;
  /** What a page in the window has. */
  api: ReturnType<typeof createDesktopApi>;
  /** A message of main to the preload. */
  push(channel: string, ...rest: unknown[]): void;
}

/** The whole desktop program, started as its entry does, with the sources in place of the built files. */
export async function startFakeDesktop(prepare: (fake: ElectronFake) => void = () => {}): Promise<Desktop> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-desktop-'));
  const page = path.join(folder, 'page');
  mkdirSync(page);
  writePage(page);
  process.env.DBELL_HOME = path.join(folder, 'home');
  const fake = createElectronFake(path.join(folder, 'user-data'));
  prepare(fake);
  const layout: DesktopLayout = {
    preload: path.join(root, 'main', 'preload', 'preload.ts'),
    computePreload: path.join(root, 'main', 'preload', 'compute-preload.ts'),
    loadComputePage: () => loadStaticFiles(page),
    serviceEntry: path.join(root, 'engine', 'service', 'desktop', 'desktop-process.ts'),
    workerEntry: path.join(root, 'engine', 'service', 'work-process.ts'),
    loadPage: () => loadStaticFiles(page),
  };
  await startDesktop(fake.electron, layout);
  const pushed = new EventEmitter();
  const frame = {
    origin: appOrigin,
    parent: null,
    postMessage: (channel: string, message: unknown, ports: unknown[]) =>
      pushed.emit(channel, { ports }, message),
  };
  const ipc = {
    invoke: (channel: string, payload: unknown) => fake.invoke(channel, structuredClone(payload), frame),
    on: (channel: string, listener: (...given: unknown[]) => void) => pushed.on(channel, listener),
  };
  const api = createDesktopApi(
    ipc as unknown as Parameters<typeof createDesktopApi>[0],
    { getPathForFile: (file) => `/dropped/${file.name}` },
    pushChannels,
  );
  return { fake, folder, api, push: (channel, ...rest) => pushed.emit(channel, {}, ...rest) };
}

/** Opens the engine as the page does: the service may not be there yet. */
export async function openEngine({ api }: Desktop): Promise<{ client: Client; port: Port }> {
  const port = await vi.waitFor(
    async () => {
      const opened = await api.openEngine();
      if (opened === null) throw new Error('not yet');
      return opened;
    },
    { timeout: 60_000, interval: 50 },
  );
  return { client: createClient(createPortTransport(port)), port };
}
