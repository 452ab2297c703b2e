import { ipcRenderer } from 'electron';
import { computePortMessage } from '../../engine/service/desktop/compute-port-message.ts';

/** A page as far as this preload uses it, which is checked without the types of a page. */
interface Page {
  location: { origin: string };
  postMessage(message: unknown, origin: string, transfer: unknown[]): void;
}

/** The page gets one port, to the work process that it computes for, and nothing else. */
ipcRenderer.on(computePortMessage, ({ ports }) => {
  const page = globalThis as unknown as Page;
  page.postMessage(computePortMessage, page.location.origin, ports);
});
