import type { IpcRenderer, WebUtils } from 'electron';
import type { Port } from '../../engine/contract/port.ts';
import type { ChannelInput, ChannelName } from './channels.ts';
import type { pushChannels } from './push-channels.ts';

/** The page's kind of message port, as far as it is used; the preload is checked without the types of a page. */
interface PagePort {
  postMessage(message: unknown): void;
  addEventListener(event: 'message' | 'close', listener: (event: { data: unknown }) => void): void;
  start(): void;
  close(): void;
}

/**
 * What the page gets of the desktop: named functions, each for one thing. No function takes a channel or hands out an event object, so that the page
 * can do nothing else with the main process. This file is bundled into the preload of a sandboxed window and imports types alone.
 */
export function createDesktopApi(
  ipc: Pick<IpcRenderer, 'invoke' | 'on'>,
  webUtils: Pick<WebUtils, 'getPathForFile'>,
  push: typeof pushChannels,
) {
  const invoke = <N extends ChannelName>(channel: N, input: ChannelInput<N>): Promise<unknown> =>
    ipc.invoke(channel, input);
  let nextPortId = 0;
  const waitingForPort = new Map<number, (port: PagePort) => void>();
  const openPorts = new Set<() => void>();
  ipc.on(push.port, (event, id: number) => {
    const [port] = event.ports as unknown as PagePort[];
    const receive = waitingForPort.get(id);
    waitingForPort.delete(id);
    if (port && receive) receive(port);
  });
  ipc.on(push.engineLost, () => {
    for (const close of [...openPorts]) close();
  });
  return {
    async openEngine(): Promise<Port | null> {
      const id = nextPortId++;
      const received = new Promise<PagePort>((resolve) => waitingForPort.set(id, resolve));
      if ((await invoke('engine:open', { id })) !== true) {
        waitingForPort.delete(id);
        return null;
      }
      return portFunctions(await received, openPorts);
    },
    chooseFolder: (title: string) => invoke('dialog:choose-folder', { title }),
    chooseFile: (title: string, extensions: string[]) => invoke('dialog:choose-file', { title, extensions }),
    chooseNewFolder: (title: string, suggestedPath: string) =>
      invoke('dialog:choose-new-folder', { title, suggestedPath }),
    chooseNewFile: (title: string, suggestedPath: string) =>
      invoke('dialog:choose-new-file', { title, suggestedPath }),
    pathOfDroppedFile: (file: File) => webUtils.getPathForFile(file),
    showInFolder: (path: string) => invoke('shell:show', { path }),
    openExternal: (address: string) => invoke('shell:open-external', { address }),
    copyText: (text: string) => invoke('clipboard:write-text', { text }),
    copyPng: (bytes: Uint8Array) => invoke('clipboard:write-png', { bytes }),
    hasHubToken: () => invoke('token:has', {}),
    setHubToken: (token: string) => invoke('token:set', { token }),
    clearHubToken: () => invoke('token:clear', {}),
    onMenuCommand(listener: (command: string) => void): () => void {
      let listening = true;
      ipc.on(push.menuCommand, (_event, command: string) => {
        if (listening) listener(command);
      });
      return () => {
        listening = false;
      };
    },
  };
}

/** A port as functions, which is what can cross into the page's world. */
function portFunctions(port: PagePort, openPorts: Set<() => void>): Port {
  const closeListeners: (() => void)[] = [];
  let closed = false;
  const close = () => {
    if (closed) return;
    closed = true;
    openPorts.delete(close);
    port.close();
    for (const listener of closeListeners) listener();
  };
  openPorts.add(close);
  port.addEventListener('close', close);
  return {
    send(message) {
      if (!closed) port.postMessage(message);
    },
    onMessage(listener) {
      port.addEventListener('message', ({ data }) => listener(data));
      port.start();
    },
    onClose(listener) {
      closeListeners.push(listener);
    },
    close,
  };
}
