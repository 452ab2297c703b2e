import type { Port } from '../../contract/port.ts';
import { navigatorHost } from '../../runtime/webgpu/navigator-host.ts';
import { serveWindow } from '../../runtime/webgpu/window/window-server.ts';
import { computePortMessage } from './compute-port-message.ts';

// Entry of the hidden window that computes for the desktop's work processes (main/desktop/compute-window.ts). Its preload hands it one port and nothing else.

/** A page's message port and what brings it, as far as they are used; the engine is checked without the types of a page. */
interface PagePort {
  postMessage(message: unknown): void;
  addEventListener(event: 'message' | 'close', listener: (event: { data: unknown }) => void): void;
  start(): void;
  close(): void;
}
interface Page {
  addEventListener(
    event: 'message',
    listener: (event: { source: unknown; data: unknown; ports: PagePort[] }) => void,
  ): void;
}

const page = globalThis as unknown as Page;
page.addEventListener('message', ({ source, data, ports: [port] }) => {
  if (source !== page || data !== computePortMessage || !port) return;
  serveWindow(portOf(port), navigatorHost(navigator.gpu ?? null, navigator.platform));
});

function portOf(port: PagePort): Port {
  return {
    send: (message) => port.postMessage(message),
    onMessage(listener) {
      port.addEventListener('message', ({ data }) => listener(data));
      port.start();
    },
    onClose: (listener) => port.addEventListener('close', listener),
    close: () => port.close(),
  };
}
