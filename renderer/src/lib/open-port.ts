import {
  type Greeting,
  refusedCloseCode,
  webSocketPath,
  welcomeSchema,
} from '../../../engine/contract/greeting.ts';
import type { Port } from '../../../engine/contract/port.ts';
import { desktop } from './desktop.ts';

/** Where the session of this origin (with its port) is kept, so that reloads and further windows need no new address. */
const sessionKey = 'dbell-session';

/** An open port to the engine, `refused` where this browser may not in, null where nobody answers just now. */
export async function openPort(): Promise<Port | 'refused' | null> {
  if (desktop) return desktop.openEngine();
  const token = takeToken();
  if (token !== null) {
    const port = await openWebSocket({ token });
    if (port !== 'refused') return port;
  }
  const session = localStorage.getItem(sessionKey);
  return session === null ? 'refused' : openWebSocket({ session });
}

/** The one-time token of the address, which is taken out of the address bar and the browser's history at once. */
function takeToken(): string | null {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (token !== null) history.replaceState(null, '', `${location.pathname}${location.search}`);
  return token;
}

function openWebSocket(greeting: Greeting): Promise<Port | 'refused' | null> {
  return new Promise((resolve) => {
    const socket = new WebSocket(`${location.origin.replace(/^http/, 'ws')}${webSocketPath}`);
    let welcomed = false;
    let listener: (message: unknown) => void = () => {};
    const closeListeners: (() => void)[] = [];
    socket.onopen = () => socket.send(JSON.stringify(greeting));
    socket.onmessage = ({ data }) => {
      const message: unknown = JSON.parse(String(data));
      if (welcomed) {
        listener(message);
        return;
      }
      const welcome = welcomeSchema.safeParse(message);
      if (!welcome.success) {
        socket.close();
        return;
      }
      welcomed = true;
      localStorage.setItem(sessionKey, welcome.data.session);
      resolve({
        send: (value) => {
          if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(value));
        },
        onMessage: (next) => {
          listener = next;
        },
        onClose: (next) => {
          closeListeners.push(next);
        },
        close: () => socket.close(),
      });
    };
    socket.onclose = ({ code }) => {
      if (welcomed) for (const closed of closeListeners) closed();
      else resolve(code === refusedCloseCode ? 'refused' : null);
    };
  });
}
