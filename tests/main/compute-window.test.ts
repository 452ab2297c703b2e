import path from 'node:path';
import { beforeAll, expect, test, vi } from 'vitest';
import type { Client } from '../../engine/contract/client.ts';
import { DBellError } from '../../engine/contract/errors.ts';
import type { GpuHost } from '../../engine/runtime/webgpu/adapters.ts';
import { serveWindow } from '../../engine/runtime/webgpu/window/window-server.ts';
import { computePortMessage } from '../../engine/service/desktop/compute-port-message.ts';
import { type MessagePortLike, messagePort } from '../../engine/service/message-port.ts';
import { contentSecurityPolicy } from '../../engine/service/web-server/security-headers.ts';
import { type Desktop, openEngine, startFakeDesktop } from './desktop-support.ts';

/**
 * The desktop's way to a GPU: a work process asks the main process, which opens a hidden window and hands both a port. The window's page is the real one in
 * tests/end-to-end/gpu-window.test.ts; here its place is taken by the same code with a host of its own.
 */

let desktop: Desktop;
let client: Client;
beforeAll(async () => {
  desktop = await startFakeDesktop();
  ({ client } = await openEngine(desktop));
});

const hidden = () => desktop.fake.windows.filter(({ loaded }) => loaded[0] === 'app://compute/');

const host: GpuHost = {
  listAdapters: async () => [{ name: 'Some Graphics 9', backend: 'metal', isSoftware: false }],
  openAdapter: async () => {
    throw new DBellError('gpu-unavailable', 'the driver said no');
  },
};

test('the adapters of the hidden window are those that the studio lists', async () => {
  const answer = client.call('devices', {});
  await vi.waitFor(() => expect(hidden()[0]?.webContents.ports).toHaveLength(1), { timeout: 20_000 });
  const [window] = hidden();
  expect(window!.webContents.ports[0]!.channel).toBe(computePortMessage);
  serveWindow(messagePort(window!.webContents.ports[0]!.port as unknown as MessagePortLike), host);
  expect(await answer).toEqual({
    adapters: [
      {
        name: 'Some Graphics 9',
        backend: 'metal',
        isSoftware: false,
        driver: '',
        problem: 'the driver said no',
      },
    ],
    problem: null,
  });
  // The work process has done its task and ended, and its window with it.
  await vi.waitFor(() => expect(window!.isDestroyed).toBe(true), { timeout: 20_000 });
});

test('the hidden window is never shown, isolated and sandboxed as the other, and served its own page alone', async () => {
  const { options, visible } = hidden()[0]!;
  expect(visible).toBe(false);
  expect(options).toMatchObject({ show: false });
  expect(options.webPreferences).toMatchObject({
    preload: expect.stringMatching(/compute-preload\.[a-z]+$/),
    partition: 'compute',
    contextIsolation: true,
    sandbox: true,
    nodeIntegration: false,
    webSecurity: true,
    devTools: false,
    backgroundThrottling: false,
  });
  const own = desktop.fake.partitions.get('compute')!;
  const ask = (address: string) => own.protocolHandlers.get('app')!(new Request(address));
  const page = await ask('app://compute/');
  expect(page.status).toBe(200);
  expect(page.headers.get('content-security-policy')).toBe(contentSecurityPolicy);
  expect((await ask('app://studio/')).status).toBe(403);
  const isCancelled = (url: string) => {
    let cancelled: boolean | null = null;
    own.beforeRequest({ url }, ({ cancel }) => {
      cancelled = cancel;
    });
    return cancelled;
  };
  for (const url of ['https://example.com/', 'app://studio/', 'file:///etc/passwd', 'ws://127.0.0.1/'])
    expect(isCancelled(url), url).toBe(true);
  expect(isCancelled('app://compute/page.js')).toBe(false);
  expect(own.permissionCheck()).toBe(false);
});

test('the studio is not served the page of the hidden window, nor are its messages answered', async () => {
  const answer = await desktop.fake.protocolHandlers.get('app')!(new Request('app://compute/'));
  expect(answer.status).toBe(403);
  const frame = { origin: 'app://compute', parent: null };
  await expect(desktop.fake.invoke('engine:open', { id: 0 }, frame)).rejects.toMatchObject({
    message: 'engine:open: refused',
  });
});

test('a window that does not open, or goes, is said', async () => {
  const { BrowserWindow } = desktop.fake.electron;
  const load = BrowserWindow.prototype.loadURL;
  BrowserWindow.prototype.loadURL = async () => Promise.reject(new Error('ERR_FAILED'));
  try {
    expect(await client.call('devices', {})).toEqual({
      adapters: [],
      problem: 'no GPU found: the window that computes on it did not open',
    });
  } finally {
    BrowserWindow.prototype.loadURL = load;
  }
  const before = hidden().length;
  const answer = client.call('devices', {});
  await vi.waitFor(() => expect(hidden()[before]?.webContents.ports).toHaveLength(1), { timeout: 20_000 });
  hidden()[before]!.webContents.emit('render-process-gone', {}, { reason: 'crashed' });
  expect(await answer).toEqual({
    adapters: [],
    problem: expect.stringContaining('the window that computes on the GPU has gone'),
  });
});

test('with the window closed, a hidden one does not keep the program', async () => {
  const before = hidden().length;
  const ended = client.call('devices', {}).catch(() => {});
  await vi.waitFor(() => expect(hidden()[before]?.webContents.ports).toHaveLength(1), { timeout: 20_000 });
  const studio = desktop.fake.windows.find(({ loaded }) => loaded[0] === 'app://studio/')!;
  studio.close();
  await vi.waitFor(() => expect(desktop.fake.app.quits).toBe(1), { timeout: 20_000 });
  await ended;
  expect(path.basename(String(hidden()[before]!.options.webPreferences?.preload))).toMatch(
    /^compute-preload/,
  );
});
