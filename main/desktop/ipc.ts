import path from 'node:path';
import type { BrowserWindow, IpcMainInvokeEvent } from 'electron';
import { parseAs } from '../../engine/contract/error-payload.ts';
import { DBellError } from '../../engine/contract/errors.ts';
import { type ChannelInput, type ChannelName, channels } from '../preload/channels.ts';
import { pushChannels } from '../preload/push-channels.ts';
import type { ElectronApi } from './electron-api.ts';
import { openableAddress } from './external-links.ts';
import { isTrustedFrame } from './guards.ts';
import type { ServiceHost } from './service-host.ts';
import type { TokenStore } from './token-store.ts';

export interface IpcContext {
  electron: Pick<
    ElectronApi,
    'BrowserWindow' | 'clipboard' | 'ClipboardItem' | 'dialog' | 'ipcMain' | 'shell'
  >;
  service: Pick<ServiceHost, 'connect' | 'setHubToken'>;
  tokens: TokenStore;
}

type Handlers = {
  [N in ChannelName]: (input: ChannelInput<N>, event: IpcMainInvokeEvent) => unknown;
};

/** Serves the preload's requests. Each is answered only for the page in a window's main frame, and only if its payload is what it must be. */
export function serveIpc(context: IpcContext): void {
  const handlers = createHandlers(context);
  for (const name of Object.keys(channels) as ChannelName[]) {
    context.electron.ipcMain.handle(name, (event, payload: unknown) => {
      if (!isTrustedFrame(event.senderFrame)) throw new DBellError('invalid-input', `${name}: refused`);
      const handler = handlers[name] as (input: unknown, event: IpcMainInvokeEvent) => unknown;
      return handler(parseAs(channels[name], payload, name), event);
    });
  }
}

/** First bytes of every PNG file. */
const pngSignature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

function createHandlers({ electron, service, tokens }: IpcContext): Handlers {
  const { BrowserWindow, clipboard, ClipboardItem, dialog, shell } = electron;
  const windowOf = (event: IpcMainInvokeEvent): BrowserWindow => {
    const window = BrowserWindow.fromWebContents(event.sender);
    if (window === null) throw new DBellError('internal', 'the window is gone');
    return window;
  };
  const open = async (event: IpcMainInvokeEvent, options: Electron.OpenDialogOptions) => {
    const { canceled, filePaths } = await dialog.showOpenDialog(windowOf(event), options);
    return canceled ? null : (filePaths[0] ?? null);
  };
  const save = async (event: IpcMainInvokeEvent, title: string, defaultPath: string) => {
    const { canceled, filePath } = await dialog.showSaveDialog(windowOf(event), { title, defaultPath });
    return canceled || filePath === '' ? null : filePath;
  };
  return {
    'engine:open': ({ id }, event) => {
      const port = service.connect();
      if (port === null) return false;
      // A window may be gone by now; then there is nobody to receive it.
      event.senderFrame?.postMessage(pushChannels.port, id, [port]);
      return true;
    },
    'dialog:choose-folder': ({ title }, event) => open(event, { title, properties: ['openDirectory'] }),
    'dialog:choose-file': ({ title, extensions }, event) =>
      open(event, {
        title,
        properties: ['openFile'],
        ...(extensions.length > 0 ? { filters: [{ name: title, extensions }] } : {}),
      }),
    'dialog:choose-new-folder': ({ title, suggestedPath }, event) => save(event, title, suggestedPath),
    'dialog:choose-new-file': ({ title, suggestedPath }, event) => save(event, title, suggestedPath),
    'shell:show': ({ path: shown }) => {
      if (!path.isAbsolute(shown)) throw new DBellError('invalid-input', `${shown} is not an absolute path`);
      shell.showItemInFolder(path.normalize(shown));
    },
    'shell:open-external': async ({ address }) => {
      const openable = openableAddress(address);
      if (openable === null)
        throw new DBellError('invalid-input', `${address} is not on the list of pages to open`);
      await shell.openExternal(openable);
    },
    'clipboard:write-text': ({ text }) => clipboard.writeText(text),
    'clipboard:write-png': ({ bytes }) => {
      if (!pngSignature.every((byte, index) => bytes[index] === byte)) {
        throw new DBellError('invalid-input', 'this is no PNG picture');
      }
      return clipboard.write([new ClipboardItem({ 'image/png': new Blob([new Uint8Array(bytes)]) })]);
    },
    'token:has': () => tokens.has(),
    'token:set': async ({ token }) => {
      await tokens.set(token);
      service.setHubToken(token);
    },
    'token:clear': async () => {
      await tokens.clear();
      service.setHubToken(null);
    },
  };
}
