import type { Port } from '../contract/port.ts';

/** What this layer uses of a message port: Electron's MessagePortMain and Node's own MessagePort (in tests) are both like it. */
export interface MessagePortLike {
  postMessage(message: unknown): void;
  on(event: 'message' | 'close', listener: (event: never) => void): unknown;
  start(): void;
  close(): void;
}

/** Electron hands over `{ data }`, Node the value itself; a value of ours is never wrapped in a `data` of its own alone. */
export function dataOf(event: unknown): unknown {
  return typeof event === 'object' && event !== null && 'data' in event && 'ports' in event
    ? (event as { data: unknown }).data
    : event;
}

/** A message port as a port of the contract. */
export function messagePort(port: MessagePortLike): Port {
  let closed = false;
  const closeListeners: (() => void)[] = [];
  port.on('close', () => {
    if (closed) return;
    closed = true;
    for (const listener of closeListeners) listener();
  });
  return {
    send(message) {
      if (!closed) port.postMessage(message);
    },
    onMessage(listener) {
      port.on('message', (event: unknown) => listener(dataOf(event)));
      port.start();
    },
    onClose(listener) {
      closeListeners.push(listener);
    },
    close: () => port.close(),
  };
}
