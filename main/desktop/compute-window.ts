import type { BrowserWindow, MessagePortMain } from 'electron';
import { DBellError } from '../../engine/contract/errors.ts';
import { computePortMessage } from '../../engine/service/desktop/compute-port-message.ts';
import type { StaticFile } from '../../engine/service/web-server/static-files.ts';
import { answerAppRequest, appScheme, computeOrigin, isComputeAddress } from './app-protocol.ts';
import type { ElectronApi } from './electron-api.ts';
import { guardSession } from './guards.ts';
import { webPreferences } from './window-options.ts';

/** Kept in memory, apart from the studio's page. */
const partition = 'compute';

export interface ComputeWindows {
  /** A hidden window that computes on a GPU, and the port to it. It closes by `close`, or takes the port with it when its process dies. Throws DBellError. */
  open(): Promise<{ port: MessagePortMain; close(): void }>;
  isOpen(): boolean;
}

/**
 * Hidden, sandboxed windows whose page runs WebGPU for work processes: Dawn's binding for Node cannot be loaded in Electron. A page of theirs is served nothing but its own
 * script, and gets one port.
 */
export function createComputeWindows(
  electron: Pick<ElectronApi, 'app' | 'BrowserWindow' | 'MessageChannelMain' | 'session'>,
  layout: { preload: string; loadPage(): Promise<ReadonlyMap<string, StaticFile>> },
): ComputeWindows {
  const { app, BrowserWindow, MessageChannelMain, session } = electron;
  const windows = new Set<BrowserWindow>();
  let isServed = false;
  const serve = () => {
    if (isServed) return;
    isServed = true;
    const own = session.fromPartition(partition);
    guardSession(own, isComputeAddress);
    const page = layout.loadPage();
    own.protocol.handle(appScheme, async (request) =>
      answerAppRequest(await page, request, isComputeAddress),
    );
  };
  return {
    isOpen: () => windows.size > 0,
    async open() {
      serve();
      const window = new BrowserWindow({
        show: false,
        webPreferences: {
          ...webPreferences(layout.preload, app.isPackaged),
          partition,
          // It is never seen, and must work all the same.
          backgroundThrottling: false,
        },
      });
      windows.add(window);
      const close = () => {
        if (windows.delete(window)) window.destroy();
      };
      window.on('closed', () => windows.delete(window));
      // Its port closes with its process; an empty window is of no use.
      window.webContents.on('render-process-gone', close);
      try {
        await window.loadURL(`${computeOrigin}/`);
      } catch (cause) {
        close();
        throw new DBellError('gpu-unavailable', 'no GPU found: the window that computes on it did not open', {
          cause,
        });
      }
      const { port1, port2 } = new MessageChannelMain();
      window.webContents.postMessage(computePortMessage, null, [port1]);
      return { port: port2, close };
    },
  };
}
