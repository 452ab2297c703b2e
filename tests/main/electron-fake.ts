import { EventEmitter } from 'node:events';
import { MessageChannel, type MessagePort, type TransferListItem, Worker } from 'node:worker_threads';
import { appOrigin } from '../../main/desktop/app-protocol.ts';
import type { ElectronApi } from '../../main/desktop/electron-api.ts';

/**
 * Exactly what the program uses of Electron, with what was asked of it kept to be looked at. Utility processes are threads that run the real entries, and
 * message channels are Node's, so that everything but the window itself is the real thing.
 */
export interface ElectronFake {
  electron: ElectronApi;
  app: FakeApp;
  windows: FakeWindow[];
  session: FakeSession;
  /** Sessions of their own, by name. */
  partitions: Map<string, FakeSession>;
  processes: FakeUtilityProcess[];
  /** Answers for dialogs, in the order in which they are shown. */
  dialogAnswers: unknown[];
  dialogs: { kind: string; options: unknown }[];
  opened: string[];
  shown: string[];
  clipboard: unknown[];
  notifications: { title: string; body: string }[];
  /** Ids of what keeps the computer awake now. */
  blockers: Set<number>;
  menu: Electron.MenuItemConstructorOptions[];
  schemes: Electron.CustomScheme[];
  protocolHandlers: Map<string, (request: Request) => Promise<Response>>;
  /** A message as a page's preload would send it; the frame is a trusted one unless given. */
  invoke(channel: string, payload: unknown, frame?: unknown): Promise<unknown>;
  ipcChannels(): string[];
}

class FakeApp extends EventEmitter {
  isPackaged = true;
  hasLock = true;
  sandboxEnabled = false;
  quits = 0;
  readonly order: string[] = [];
  readonly switches: string[] = [];
  readonly commandLine = { appendSwitch: (name: string) => this.switches.push(name) };
  readonly #userData: string;
  constructor(userData: string) {
    super();
    this.#userData = userData;
  }
  enableSandbox() {
    this.order.push('enableSandbox');
    this.sandboxEnabled = true;
  }
  requestSingleInstanceLock() {
    this.order.push('lock');
    return this.hasLock;
  }
  async whenReady() {
    this.order.push('ready');
  }
  getPath() {
    return this.#userData;
  }
  quit() {
    let prevented = false;
    this.emit('before-quit', {
      preventDefault: () => {
        prevented = true;
      },
    });
    if (!prevented) this.quits++;
  }
}

class FakeWebContents extends EventEmitter {
  readonly sent: unknown[][] = [];
  /** Ports that the page's preload was given. */
  readonly ports: { channel: string; port: MessagePort }[] = [];
  openHandler: (details: { url: string }) => { action: string } = () => ({ action: 'allow' });
  setWindowOpenHandler(handler: (details: { url: string }) => { action: string }) {
    this.openHandler = handler;
  }
  send(...message: unknown[]) {
    this.sent.push(message);
  }
  postMessage(channel: string, _message: unknown, [port]: MessagePort[]) {
    this.ports.push({ channel, port: port! });
  }
}

class FakeWindow extends EventEmitter {
  readonly webContents = new FakeWebContents();
  readonly progress: { value: number; mode: string }[] = [];
  loaded: string[] = [];
  focused = false;
  visible = false;
  readonly options: Electron.BrowserWindowConstructorOptions;
  constructor(options: Electron.BrowserWindowConstructorOptions) {
    super();
    this.options = options;
  }
  async loadURL(address: string) {
    this.loaded.push(address);
    this.emit('ready-to-show');
  }
  setProgressBar(value: number, { mode }: { mode: string }) {
    this.progress.push({ value, mode });
  }
  show() {
    this.visible = true;
  }
  focus() {
    this.focused = true;
  }
  isFocused() {
    return this.focused;
  }
  isMinimized() {
    return false;
  }
  restore() {}
  maximize() {}
  isMaximized() {
    return false;
  }
  getNormalBounds() {
    return { x: 10, y: 20, width: 1000, height: 700 };
  }
  close() {
    this.emit('close');
    this.emit('closed');
  }
  isDestroyed = false;
  destroy() {
    this.isDestroyed = true;
    for (const { port } of this.webContents.ports) port.close();
    this.emit('closed');
  }
}

class FakeSession extends EventEmitter {
  permissionRequest: (contents: unknown, permission: string, decide: (allowed: boolean) => void) => void = (
    _contents,
    _permission,
    decide,
  ) => decide(true);
  permissionCheck: () => boolean = () => true;
  devicePermission: () => boolean = () => true;
  displayMedia: (request: unknown, decide: (streams: object) => void) => void = (_request, decide) =>
    decide({ video: 'screen' });
  beforeRequest: (details: { url: string }, decide: (answer: { cancel: boolean }) => void) => void = (
    _details,
    decide,
  ) => decide({ cancel: false });
  setPermissionRequestHandler(handler: FakeSession['permissionRequest']) {
    this.permissionRequest = handler;
  }
  setPermissionCheckHandler(handler: () => boolean) {
    this.permissionCheck = handler;
  }
  setDevicePermissionHandler(handler: () => boolean) {
    this.devicePermission = handler;
  }
  setDisplayMediaRequestHandler(handler: FakeSession['displayMedia']) {
    this.displayMedia = handler;
  }
  /** Of this session alone; the default one's are kept by the fake. */
  readonly protocolHandlers = new Map<string, (request: Request) => Promise<Response>>();
  readonly protocol = {
    handle: (scheme: string, handler: (request: Request) => Promise<Response>) =>
      void this.protocolHandlers.set(scheme, handler),
  };
  readonly webRequest = {
    onBeforeRequest: (handler: FakeSession['beforeRequest']) => {
      this.beforeRequest = handler;
    },
  };
}

class FakeUtilityProcess extends EventEmitter {
  readonly entry: string;
  readonly options: Electron.ForkOptions;
  /** Threads have no process id of their own: whoever wants one ended must use `kill`. */
  readonly pid = undefined;
  readonly #worker: Worker;
  constructor(entry: string, options: Electron.ForkOptions) {
    super();
    this.entry = entry;
    this.options = options;
    this.#worker = new Worker(new URL('./electron-fake-process.ts', import.meta.url), {
      workerData: { entry },
      stdout: true,
      stderr: true,
    });
    this.stderr = this.#worker.stderr;
    this.stdout = this.#worker.stdout;
    this.#worker.on('online', () => this.emit('spawn'));
    this.#worker.on('message', (message) => this.emit('message', message));
    this.#worker.on('error', () => {});
    this.#worker.on('exit', (code) => this.emit('exit', code));
  }
  readonly stdout: NodeJS.ReadableStream;
  readonly stderr: NodeJS.ReadableStream;
  postMessage(data: unknown, ports: MessagePort[] = []) {
    this.#worker.postMessage({ data, ports }, ports as TransferListItem[]);
  }
  kill() {
    void this.#worker.terminate();
    return true;
  }
}

export function createElectronFake(userData: string): ElectronFake {
  const app = new FakeApp(userData);
  const windows: FakeWindow[] = [];
  const session = new FakeSession();
  const partitions = new Map<string, FakeSession>();
  const processes: FakeUtilityProcess[] = [];
  const dialogAnswers: unknown[] = [];
  const dialogs: { kind: string; options: unknown }[] = [];
  const handlers = new Map<string, (event: unknown, payload: unknown) => unknown>();
  const opened: string[] = [];
  const shown: string[] = [];
  const clipboard: unknown[] = [];
  const notifications: { title: string; body: string }[] = [];
  const blockers = new Set<number>();
  const menu: Electron.MenuItemConstructorOptions[] = [];
  const schemes: Electron.CustomScheme[] = [];
  const protocolHandlers = new Map<string, (request: Request) => Promise<Response>>();
  const showDialog =
    (kind: string) =>
    async (...given: unknown[]) => {
      dialogs.push({ kind, options: given.at(-1) });
      return dialogAnswers.shift();
    };
  const electron = {
    app,
    BrowserWindow: Object.assign(
      class extends FakeWindow {
        constructor(options: Electron.BrowserWindowConstructorOptions) {
          super(options);
          windows.push(this);
          app.emit('web-contents-created', {}, this.webContents);
        }
      },
      { fromWebContents: () => windows.at(-1) ?? null },
    ),
    clipboard: {
      writeText: async (text: string) => void clipboard.push(text),
      write: async (items: unknown[]) => void clipboard.push(...items),
    },
    ClipboardItem: class {
      readonly items: Record<string, Blob>;
      constructor(items: Record<string, Blob>) {
        this.items = items;
      }
    },
    dialog: {
      showOpenDialog: showDialog('open'),
      showSaveDialog: showDialog('save'),
      showMessageBox: showDialog('message'),
      showErrorBox: (title: string, content: string) =>
        void dialogs.push({ kind: 'error', options: { title, content } }),
    },
    ipcMain: {
      handle: (channel: string, handler: (event: unknown, payload: unknown) => unknown) =>
        void handlers.set(channel, handler),
    },
    Menu: {
      buildFromTemplate: (template: Electron.MenuItemConstructorOptions[]) => template,
      setApplicationMenu: (template: Electron.MenuItemConstructorOptions[]) => void menu.push(...template),
    },
    MessageChannelMain: MessageChannel,
    Notification: class extends EventEmitter {
      static isSupported = () => true;
      readonly options: { title: string; body: string };
      constructor(options: { title: string; body: string }) {
        super();
        this.options = options;
      }
      show() {
        notifications.push(this.options);
      }
    },
    powerSaveBlocker: {
      start: () => {
        const id = blockers.size + 1;
        blockers.add(id);
        return id;
      },
      stop: (id: number) => void blockers.delete(id),
    },
    protocol: {
      registerSchemesAsPrivileged: (given: Electron.CustomScheme[]) => {
        app.order.push('schemes');
        schemes.push(...given);
      },
      handle: (scheme: string, handler: (request: Request) => Promise<Response>) =>
        void protocolHandlers.set(scheme, handler),
    },
    safeStorage: {
      isEncryptionAvailable: () => true,
      getSelectedStorageBackend: () => 'gnome_libsecret',
      // Not plain, and not readable as text: enough to see that plain text never reaches the disk.
      encryptString: (text: string) => Buffer.from([...Buffer.from(text)].map((byte) => byte ^ 0x5a)),
      decryptString: (bytes: Buffer) => Buffer.from([...bytes].map((byte) => byte ^ 0x5a)).toString(),
    },
    screen: { getAllDisplays: () => [{ workArea: { x: 0, y: 0, width: 1920, height: 1080 } }] },
    session: {
      defaultSession: session,
      fromPartition(name: string) {
        if (!partitions.has(name)) partitions.set(name, new FakeSession());
        return partitions.get(name);
      },
    },
    shell: {
      openExternal: async (address: string) => void opened.push(address),
      showItemInFolder: (item: string) => void shown.push(item),
    },
    utilityProcess: {
      fork: (entry: string, _args: string[], options: Electron.ForkOptions) => {
        const child = new FakeUtilityProcess(entry, options);
        processes.push(child);
        return child;
      },
    },
  };
  return {
    electron: electron as unknown as ElectronApi,
    app,
    windows,
    session,
    partitions,
    processes,
    dialogAnswers,
    dialogs,
    opened,
    shown,
    clipboard,
    notifications,
    blockers,
    menu,
    schemes,
    protocolHandlers,
    async invoke(channel, payload, frame = { origin: appOrigin, parent: null }) {
      const handler = handlers.get(channel);
      if (!handler) throw new Error(`nobody serves ${channel}`);
      return handler({ senderFrame: frame, sender: windows.at(-1)?.webContents }, payload);
    },
    ipcChannels: () => [...handlers.keys()],
  };
}
