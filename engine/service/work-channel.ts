import { dataOf, type MessagePortLike } from './message-port.ts';
import type { FromWorkProcess } from './work-protocol.ts';

/** How a work process hears and speaks, whoever started it. */
export interface WorkChannel {
  send(message: FromWorkProcess): void;
  /** Sends and ends the process when the message is on its way. */
  sendLast(message: FromWorkProcess): void;
  onMessage(listener: (message: unknown) => void): void;
  /** The service is gone. */
  onLost(listener: () => void): void;
}

/** Electron's `process.parentPort`, as far as it is used. */
export interface ParentPort {
  on(event: 'message', listener: (event: { data: unknown; ports: MessagePortLike[] }) => void): unknown;
  postMessage(message: unknown): void;
}

/** Of a process that Electron forked; undefined elsewhere. */
export function electronParentPort(): ParentPort | undefined {
  return (process as unknown as { parentPort?: ParentPort }).parentPort;
}

/** The channel of `child_process.fork`. */
export function forkChannel(): WorkChannel | null {
  if (!process.send) return null;
  const send = (message: FromWorkProcess, sent: () => void) =>
    process.send?.(message, undefined, undefined, sent);
  return {
    send: (message) => void send(message, () => {}),
    sendLast: (message) => void send(message, () => process.exit(0)),
    onMessage: (listener) => void process.on('message', listener),
    onLost(listener) {
      // It may have gone while this process was still loading.
      if (process.connected) process.on('disconnect', listener);
      else listener();
    },
  };
}

/** If nobody says that the last message arrived, it never will. */
const lastMessageMs = 5000;

/**
 * The channel of a utility process: its parent's first message brings the port that leads to the service. A port does not tell when a message has
 * left, so that the service answers the last one with `end`.
 */
export function utilityChannel(
  parent: ParentPort,
  exit: () => void = () => process.exit(0),
): Promise<WorkChannel> {
  return new Promise((resolve) => {
    parent.on('message', ({ data, ports: [port] }) => {
      if (!port || (data as { type?: unknown }).type !== 'port') return;
      resolve({
        send: (message) => port.postMessage(message),
        sendLast(message) {
          port.postMessage(message);
          setTimeout(exit, lastMessageMs);
        },
        onMessage(listener) {
          port.on('message', (event: unknown) => {
            const message = dataOf(event);
            if ((message as { type?: unknown })?.type === 'end') exit();
            else listener(message);
          });
          port.start();
        },
        onLost: (listener) => void port.on('close', listener),
      });
    });
  });
}
