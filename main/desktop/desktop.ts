import path from 'node:path';
import type { BrowserWindow } from 'electron';
import { defaultHome } from '../../engine/service/home.ts';
import type { StaticFile } from '../../engine/service/web-server/static-files.ts';
import { answerAppRequest, appOrigin, appScheme, appSchemePrivileges } from './app-protocol.ts';
import { createComputeWindows } from './compute-window.ts';
import type { ElectronApi } from './electron-api.ts';
import { openableAddress } from './external-links.ts';
import { guardSession, guardWebContents } from './guards.ts';
import { serveIpc } from './ipc.ts';
import { menuTemplate } from './menu.ts';
import { createPresence } from './presence.ts';
import { type ServiceHost, startServiceHost } from './service-host.ts';
import { strings } from './strings.ts';
import { createTokenStore } from './token-store.ts';
import { windowOptions } from './window-options.ts';
import { reachable, readWindowState, writeWindowState } from './window-state.ts';

/** Where the parts lie: in a packaged program inside its archive. */
export interface DesktopLayout {
  preload: string;
  serviceEntry: string;
  workerEntry: string;
  loadPage(): Promise<ReadonlyMap<string, StaticFile>>;
  /** Of the hidden windows that compute on a GPU. */
  computePreload: string;
  loadComputePage(): Promise<ReadonlyMap<string, StaticFile>>;
}

const documentation = 'https://github.com/dbell-studio/dbell-studio#readme';

/** Nothing of Chromium's own may call anywhere. */
const switches = [
  'disable-background-networking',
  'disable-component-update',
  'disable-domain-reliability',
  'no-pings',
  // Names of the adapters and exact times of kernels; no page but the program's own ever runs.
  'enable-webgpu-developer-features',
];
/** Chromium keeps WebGPU to itself on Linux unless it is asked for. */
const linuxSwitches = ['enable-unsafe-webgpu'];

/**
 * The desktop's main process: one window, the rules that every page is under, and the service in a process of its own. It does no work itself and reads
 * no file synchronously.
 */
export async function startDesktop(electron: ElectronApi, layout: DesktopLayout): Promise<void> {
  const { app, BrowserWindow, Menu, dialog, protocol, screen, session, shell } = electron;
  // Before the program is ready, and before a second instance does anything.
  app.enableSandbox();
  for (const name of [...switches, ...(process.platform === 'linux' ? linuxSwitches : [])])
    app.commandLine.appendSwitch(name);
  protocol.registerSchemesAsPrivileged([appSchemePrivileges]);
  if (!app.requestSingleInstanceLock()) {
    app.quit();
    return;
  }

  let window: BrowserWindow | null = null;
  let service: ServiceHost | null = null;
  /** `asking`: whether to stop a run. */
  let quitting: 'no' | 'asking' | 'yes' = 'no';
  const openExternal = (address: string) => {
    const openable = openableAddress(address);
    if (openable !== null) void shell.openExternal(openable);
  };
  const presence = createPresence(electron, () => window);

  app.on('web-contents-created', (_event, contents) => guardWebContents(contents, openExternal));
  app.on('second-instance', () => {
    if (window === null) return;
    if (window.isMinimized()) window.restore();
    window.show();
    window.focus();
  });
  app.on('window-all-closed', () => app.quit());
  app.on('activate', () => {
    if (window === null && service !== null) void openWindow();
  });
  app.on('before-quit', (event) => {
    if (service === null) return;
    event.preventDefault();
    if (quitting === 'no') void quit();
  });

  const quit = async () => {
    if (presence.isBusy()) {
      quitting = 'asking';
      const { quit: texts } = strings;
      const options = {
        type: 'question' as const,
        message: texts.message,
        detail: texts.detail,
        buttons: [texts.stop, texts.stay],
        defaultId: 1,
        cancelId: 1,
      };
      const { response } = await (window
        ? dialog.showMessageBox(window, options)
        : dialog.showMessageBox(options));
      if (response !== 0) {
        quitting = 'no';
        if (window === null) await openWindow();
        return;
      }
    }
    quitting = 'yes';
    await service?.close();
    service = null;
    app.quit();
  };

  const stateFile = path.join(app.getPath('userData'), 'window-state.json');
  const openWindow = async () => {
    const screens = screen.getAllDisplays().map(({ workArea }) => workArea);
    const state = reachable(await readWindowState(stateFile), screens);
    const opened = new BrowserWindow(windowOptions(layout.preload, app.isPackaged, state?.bounds ?? {}));
    window = opened;
    if (state?.maximized) opened.maximize();
    opened.once('ready-to-show', () => opened.show());
    opened.on('close', () => {
      void writeWindowState(stateFile, { bounds: opened.getNormalBounds(), maximized: opened.isMaximized() });
    });
    opened.on('closed', () => {
      window = null;
      // Electron counts the hidden ones too.
      if (compute.isOpen()) app.quit();
    });
    await opened.loadURL(`${appOrigin}/`);
  };

  const compute = createComputeWindows(electron, {
    preload: layout.computePreload,
    loadPage: layout.loadComputePage,
  });

  await app.whenReady();
  guardSession(session.defaultSession);
  const page = layout.loadPage();
  protocol.handle(appScheme, async (request) => answerAppRequest(await page, request));
  const tokens = createTokenStore(path.join(app.getPath('userData'), 'hub-token'), electron.safeStorage);
  service = startServiceHost({
    electron,
    home: defaultHome(),
    serviceEntry: layout.serviceEntry,
    workerEntry: layout.workerEntry,
    openCompute: () => compute.open(),
    onActivity: (activity) => presence.update(activity),
    onJobEnded: (job) => presence.ended(job),
    onRestart: () => window?.webContents.send('engine:lost'),
    onGivenUp: (lastOutput) => {
      window?.webContents.send('engine:lost');
      const { givenUp, givenUpDetail } = strings.engine;
      dialog.showErrorBox(givenUp, `${givenUpDetail}\n\n${lastOutput}`);
    },
  });
  serveIpc({ electron, service, tokens });
  // Without a token no key store is asked.
  void tokens.get().then(
    (token) => {
      if (token !== null) service?.setHubToken(token);
    },
    () => {},
  );
  Menu.setApplicationMenu(
    Menu.buildFromTemplate(
      menuTemplate(
        {
          command: (command) => window?.webContents.send('menu:command', command),
          openDocumentation: () => openExternal(documentation),
        },
        process.platform,
        app.isPackaged,
      ),
    ),
  );
  await openWindow();
}
