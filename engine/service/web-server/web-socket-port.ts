import type { WebSocket } from 'ws';
import type { Port } from '../../contract/port.ts';
import { webLimits } from './web-limits.ts';

/** A socket that has been welcomed, as a port of the contract. Text that is no JSON closes it. */
export function webSocketPort(socket: WebSocket): Port {
  return {
    send(message) {
      if (socket.readyState !== socket.OPEN) return;
      if (socket.bufferedAmount > webLimits.backlogBytes) socket.terminate();
      else socket.send(JSON.stringify(message));
    },
    onMessage(listener) {
      socket.on('message', (data, isBinary) => {
        const message = isBinary ? undefined : parseJson(String(data));
        if (message === undefined) socket.close(1003);
        else listener(message);
      });
    },
    onClose(listener) {
      socket.once('close', () => listener());
    },
    close: () => socket.close(1008),
  };
}

/** Undefined where it is no JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
