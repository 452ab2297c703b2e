import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { contentSecurityPolicy } from '../../engine/service/web-server/security-headers.ts';
import { appSchemePrivileges } from '../../main/desktop/app-protocol.ts';
import { allowedHosts, openableAddress } from '../../main/desktop/external-links.ts';
import { isTrustedFrame } from '../../main/desktop/guards.ts';
import { menuTemplate } from '../../main/desktop/menu.ts';
import { reachable } from '../../main/desktop/window-state.ts';
import { channels, menuCommands } from '../../main/preload/channels.ts';
import { type Desktop, startFakeDesktop } from './desktop-support.ts';

/** Every rule for the desktop shell, asserted on the real modules, which get Electron handed in. */

const root = path.resolve(import.meta.dirname, '..', '..');
let desktop: Desktop;
beforeAll(async () => {
  desktop = await startFakeDesktop();
});

test('before it is ready the program sandboxes everything, declares its scheme and looks for another instance', () => {
  expect(desktop.fake.app.order).toEqual(['enableSandbox', 'schemes', 'lock', 'ready']);
  expect(desktop.fake.app.sandboxEnabled).toBe(true);
});

test('the window isolates and sandboxes its page, which has no Node, no webview and no developer tools', () => {
  expect(desktop.fake.windows).toHaveLength(1);
  const { options } = desktop.fake.windows[0]!;
  expect(options.webPreferences).toEqual({
    preload: expect.stringMatching(/preload\.[a-z]+$/),
    contextIsolation: true,
    sandbox: true,
    nodeIntegration: false,
    nodeIntegrationInWorker: false,
    nodeIntegrationInSubFrames: false,
    webSecurity: true,
    allowRunningInsecureContent: false,
    experimentalFeatures: false,
    webviewTag: false,
    navigateOnDragDrop: false,
    safeDialogs: true,
    spellcheck: false,
    devTools: false,
  });
  expect(options).toMatchObject({ show: false, minWidth: 900, minHeight: 600 });
});

test('the page comes from app:// and nowhere else', async () => {
  const { windows, protocolHandlers, schemes } = desktop.fake;
  expect(windows[0]?.loaded).toEqual(['app://studio/']);
  expect([...protocolHandlers.keys()]).toEqual(['app']);
  expect(schemes).toEqual([appSchemePrivileges]);
  expect(appSchemePrivileges.privileges).toEqual({
    standard: true,
    secure: true,
    supportFetchAPI: true,
    codeCache: true,
  });
});

const ask = (address: string, method = 'GET') =>
  desktop.fake.protocolHandlers.get('app')!(new Request(address, { method }));

test('the page has the policy of browser mode', async () => {
  const response = await ask('app://studio/');
  expect(response.status).toBe(200);
  expect(await response.text()).toContain('<title>page</title>');
  expect(response.headers.get('content-security-policy')).toBe(contentSecurityPolicy);
  expect(response.headers.get('x-content-type-options')).toBe('nosniff');
});

test.each([
  ['app://studio/../secret.html', 404],
  ['app://studio/%2e%2e/secret.html', 404],
  ['app://studio/..%2fsecret.html', 404],
  ['app://studio//etc/passwd', 404],
  ['app://studio/assets/index-1.js.map', 404],
  ['app://other/', 403],
])('%s is answered with %i', async (address, status) => {
  expect((await ask(address)).status).toBe(status);
});

test('only GET is answered', async () => {
  expect((await ask('app://studio/', 'POST')).status).toBe(405);
});

const foreign = [
  'https://example.com/',
  'http://127.0.0.1:8000/',
  'file:///etc/passwd',
  'app://other/',
  'app://studio.evil/',
  'javascript:alert(1)',
  'data:text/html,x',
  'blob:app://studio/x',
  'about:blank',
  'nonsense',
];

test.each(foreign)('no page may go to %s', (url) => {
  const contents = desktop.fake.windows[0]!.webContents;
  for (const name of ['will-navigate', 'will-redirect', 'will-frame-navigate']) {
    let prevented = false;
    contents.emit(name, { url, isMainFrame: true, preventDefault: () => (prevented = true) });
    expect(prevented, name).toBe(true);
  }
});

test('the page may go within its own origin, but no frame in it may', () => {
  const contents = desktop.fake.windows[0]!.webContents;
  for (const [name, isMainFrame, expected] of [
    ['will-navigate', true, false],
    ['will-frame-navigate', true, false],
    ['will-frame-navigate', false, true],
  ] as const) {
    let prevented = false;
    contents.emit(name, { url: 'app://studio/', isMainFrame, preventDefault: () => (prevented = true) });
    expect(prevented).toBe(expected);
  }
});

test('no webview is attached', () => {
  let prevented = false;
  desktop.fake.windows[0]!.webContents.emit('will-attach-webview', {
    preventDefault: () => (prevented = true),
  });
  expect(prevented).toBe(true);
});

test('new windows are denied; addresses of the list open in the browser, others nowhere', () => {
  const { opened, windows } = desktop.fake;
  const open = (url: string) => windows[0]!.webContents.openHandler({ url });
  for (const url of [...foreign, 'app://studio/']) expect(open(url)).toEqual({ action: 'deny' });
  expect(opened).toEqual([]);
  expect(open('https://arxiv.org/abs/2507.01027')).toEqual({ action: 'deny' });
  expect(opened.splice(0)).toEqual(['https://arxiv.org/abs/2507.01027']);
});

test.each([
  'http://arxiv.org/',
  'https://arxiv.org.evil.example/',
  'https://evil.example/arxiv.org',
  'https://user@arxiv.org/',
  'https://arxiv.org:8443/',
  'https://sub.arxiv.org/',
  'file:///etc/passwd',
  'smb://arxiv.org/',
  'javascript:alert(1)',
  '//arxiv.org',
  '',
])('%j is not opened', async (address) => {
  expect(openableAddress(address)).toBeNull();
  await expect(desktop.api.openExternal(address)).rejects.toMatchObject({ code: 'invalid-input' });
  expect(desktop.fake.opened).toEqual([]);
});

test('the hosts of the list are opened by https', () => {
  for (const host of allowedHosts) expect(openableAddress(`https://${host}/x`)).toBe(`https://${host}/x`);
});

test('every permission is denied', () => {
  const { session } = desktop.fake;
  for (const permission of [
    'media',
    'geolocation',
    'notifications',
    'clipboard-read',
    'openExternal',
    'hid',
  ]) {
    let decision: boolean | null = null;
    session.permissionRequest({}, permission, (allowed) => {
      decision = allowed;
    });
    expect(decision, permission).toBe(false);
  }
  expect(session.permissionCheck()).toBe(false);
  expect(session.devicePermission()).toBe(false);
  let streams: object | null = null;
  session.displayMedia({}, (given) => {
    streams = given;
  });
  expect(streams).toEqual({});
});

test('no request leaves the computer', () => {
  const isCancelled = (url: string) => {
    let cancelled: boolean | null = null;
    desktop.fake.session.beforeRequest({ url }, ({ cancel }) => {
      cancelled = cancel;
    });
    return cancelled;
  };
  for (const url of [
    'https://example.com/',
    'http://127.0.0.1/',
    'file:///etc/passwd',
    'ws://127.0.0.1/',
    'wss://a.b/',
  ])
    expect(isCancelled(url), url).toBe(true);
  expect(isCancelled('app://studio/assets/index-1.js')).toBe(false);
  expect(desktop.fake.app.switches).toContain('disable-background-networking');
  expect(desktop.fake.app.switches).toContain('disable-component-update');
});

test('only what the page made itself is saved', () => {
  const isPrevented = (url: string) => {
    let prevented = false;
    desktop.fake.session.emit(
      'will-download',
      { preventDefault: () => (prevented = true) },
      { getURL: () => url },
    );
    return prevented;
  };
  expect(isPrevented('https://example.com/a.exe')).toBe(true);
  expect(isPrevented('blob:https://example.com/1')).toBe(true);
  expect(isPrevented('blob:app://studio/1')).toBe(false);
});

test('messages are answered for the page in the main frame alone', async () => {
  const untrusted = [
    null,
    { origin: 'https://example.com', parent: null },
    { origin: 'file://', parent: null },
    { origin: 'app://other', parent: null },
    { origin: 'null', parent: null },
    { origin: 'app://studio', parent: {} },
  ];
  for (const frame of untrusted) {
    expect(isTrustedFrame(frame)).toBe(false);
    for (const channel of Object.keys(channels)) {
      await expect(desktop.fake.invoke(channel, {}, frame), channel).rejects.toMatchObject({
        message: `${channel}: refused`,
      });
    }
  }
  expect(isTrustedFrame({ origin: 'app://studio', parent: null })).toBe(true);
});

test('every payload is checked, and there are no channels but those named', async () => {
  expect(desktop.fake.ipcChannels().sort()).toEqual(Object.keys(channels).sort());
  for (const channel of Object.keys(channels)) {
    for (const payload of [undefined, null, 'text', 7, [], { unheardOf: 1 }]) {
      await expect(desktop.fake.invoke(channel, payload), channel).rejects.toMatchObject({
        code: 'invalid-input',
      });
    }
  }
  await expect(desktop.fake.invoke('clipboard:write-text', { text: 7 })).rejects.toMatchObject({
    code: 'invalid-input',
  });
  await expect(desktop.fake.invoke('shell:show', { path: 'relative' })).rejects.toMatchObject({
    code: 'invalid-input',
  });
});

test('the page gets named functions and nothing of the message system', () => {
  expect(Object.entries(desktop.api).every(([, value]) => typeof value === 'function')).toBe(true);
  const names = Object.keys(desktop.api);
  expect(names).not.toContain('invoke');
  expect(names).not.toContain('send');
  expect(names).not.toContain('on');
});

test('menu commands reach the page without their event', () => {
  const heard: unknown[][] = [];
  const stop = desktop.api.onMenuCommand((...given: unknown[]) => heard.push(given));
  desktop.push('menu:command', 'new-run');
  stop();
  desktop.push('menu:command', 'settings');
  expect(heard).toEqual([['new-run']]);
});

test('the preload is for a sandbox: it imports nothing but types and names', () => {
  const preload = path.join(root, 'main', 'preload');
  const imported = ['api.ts', 'preload.ts', 'push-channels.ts'].flatMap((file) =>
    readFileSync(path.join(preload, file), 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('import ') && !line.startsWith('import type'))
      .map((line) => line.replace(/^.*from /, '')),
  );
  expect(imported.sort()).toEqual(["'./api.ts';", "'./push-channels.ts';", "'electron';"]);
});

test('the main process uses no synchronous file access, no database and no child process', () => {
  const folder = path.join(root, 'main', 'desktop');
  for (const file of readdirSync(folder)) {
    const text = readFileSync(path.join(folder, file), 'utf8');
    expect(text, file).not.toMatch(
      /\b\w+Sync\(|node:fs'|child_process|better-sqlite3|createHash|onnxruntime/,
    );
  }
});

test('no file of the program turns a protection off', () => {
  const forbidden =
    /sandbox: false|contextIsolation: false|nodeIntegration\w*: true|webSecurity: false|bypassCSP|no-sandbox|ignore-certificate-errors|enableRemoteModule/;
  for (const folder of ['main', 'engine/service', 'renderer/src']) {
    for (const entry of readdirSync(path.join(root, folder), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const file = path.join(entry.parentPath, entry.name);
      expect(forbidden.test(readFileSync(file, 'utf8')), file).toBe(false);
    }
  }
});

test('a token is kept encrypted, never handed to the page, and gone when it is cleared', async () => {
  const file = path.join(desktop.folder, 'user-data', 'hub-token');
  expect(await desktop.api.hasHubToken()).toBe(false);
  await desktop.api.setHubToken('hf_secret');
  expect(await desktop.api.hasHubToken()).toBe(true);
  expect(readFileSync(file).includes('hf_secret')).toBe(false);
  expect(
    Object.keys(desktop.api)
      .filter((name) => /token/i.test(name))
      .sort(),
  ).toEqual(['clearHubToken', 'hasHubToken', 'setHubToken']);
  await desktop.api.clearHubToken();
  expect(await desktop.api.hasHubToken()).toBe(false);
});

test('without a key store a token is not kept at all', async () => {
  const { createTokenStore } = await import('../../main/desktop/token-store.ts');
  const file = path.join(desktop.folder, 'other', 'hub-token');
  const safeStorage = {
    ...desktop.fake.electron.safeStorage,
    getSelectedStorageBackend: () => 'basic_text' as const,
  };
  const store = createTokenStore(file, safeStorage, 'linux');
  await expect(store.set('hf_secret')).rejects.toMatchObject({ code: 'disk-error' });
  expect(await store.has()).toBe(false);
});

test('the menu has every command once, with shortcuts that do not collide, on every system', () => {
  for (const platform of ['linux', 'win32', 'darwin'] as const) {
    const sent: string[] = [];
    const template = menuTemplate(
      { command: (name) => sent.push(name), openDocumentation: () => {} },
      platform,
      true,
    );
    const items = template.flatMap(({ submenu }) => (Array.isArray(submenu) ? submenu : []));
    for (const item of items) (item.click as (() => void) | undefined)?.();
    expect(sent.sort()).toEqual([...menuCommands].sort());
    const accelerators = items.flatMap(({ accelerator }) => accelerator ?? []);
    expect(new Set(accelerators).size).toBe(accelerators.length);
    expect(JSON.stringify(template)).not.toMatch(/toggleDevTools|"reload"/);
  }
});

test('the page knows every command of the menu', () => {
  const known = readFileSync(path.join(root, 'renderer', 'src', 'app', 'commands.ts'), 'utf8');
  const ids = [...known.matchAll(/^ {4}id: '([a-z-]+)'/gm)].map((match) => match[1]);
  expect(menuCommands.filter((name) => name !== 'command-palette' && !ids.includes(name))).toEqual([]);
});

test('a window is opened where it stood only if a person can take hold of it there', () => {
  const screens = [{ x: 0, y: 0, width: 1920, height: 1080 }];
  const at = (x: number, y: number) => ({ bounds: { x, y, width: 1000, height: 700 }, maximized: false });
  expect(reachable(at(100, 100), screens)).not.toBeNull();
  expect(reachable(at(-800, 100), screens)).not.toBeNull();
  for (const [x, y] of [
    [-950, 100],
    [1900, 100],
    [100, -50],
    [100, 1070],
    [5000, 100],
  ] as const)
    expect(reachable(at(x, y), screens)).toBeNull();
  expect(reachable(null, screens)).toBeNull();
});
