import { type Client, createClient } from '../../../engine/contract/client.ts';
import { DBellError } from '../../../engine/contract/errors.ts';
import type { ServiceEvent } from '../../../engine/contract/events.ts';
import { createPortTransport, type Port } from '../../../engine/contract/port.ts';
import { openPort } from './open-port.ts';

/**
 * - `connecting`: for the first time or again; what is on the screen may be old.
 * - `connected`: calls are answered.
 * - `refused`: this address was used already and this browser has no session; only a new address helps.
 */
export type ConnectionState = 'connecting' | 'connected' | 'refused';

/** The contract as the page uses it. It survives the loss of the connection: whoever holds state asks for it anew on `connected`. */
export interface EngineClient extends Client {
  readonly state: ConnectionState;
  /** Called at once with the present state and then at every change. Returns how to stop listening. */
  onState(listener: (state: ConnectionState) => void): () => void;
  /** Resolves when connected. */
  ready(): Promise<void>;
}

/** Waits between attempts to reconnect: quick at first, since a restarted service is back within a second. */
const reconnectWaitsMs = [100, 250, 500, 1000, 2000] as const;

/** Connects to the engine, over the desktop's message port where the page runs in the desktop window, else over a WebSocket to its own server. */
export function connectToEngine(open: () => Promise<Port | 'refused' | null> = openPort): EngineClient {
  let state: ConnectionState = 'connecting';
  let client: Client | null = null;
  let attempts = 0;
  const stateListeners = new Set<(state: ConnectionState) => void>();
  const eventListeners = new Set<(event: ServiceEvent, sequence: number) => void>();
  const setState = (next: ConnectionState) => {
    if (next === state) return;
    state = next;
    for (const listener of stateListeners) listener(next);
  };
  const connect = async (): Promise<void> => {
    const port = await open();
    if (port === 'refused') {
      setState('refused');
      return;
    }
    if (port === null) {
      reconnect();
      return;
    }
    const opened = createClient(createPortTransport(port));
    opened.onEvent((event, sequence) => {
      for (const listener of eventListeners) listener(event, sequence);
    });
    port.onClose(() => {
      client = null;
      setState('connecting');
      reconnect();
    });
    client = opened;
    attempts = 0;
    setState('connected');
  };
  const reconnect = () => {
    const wait = reconnectWaitsMs[Math.min(attempts++, reconnectWaitsMs.length - 1)];
    setTimeout(() => void connect(), wait);
  };
  void connect();
  return {
    get state() {
      return state;
    },
    onState(listener) {
      stateListeners.add(listener);
      listener(state);
      return () => stateListeners.delete(listener);
    },
    ready() {
      return new Promise((resolve) => {
        const stop = this.onState((now) => {
          if (now !== 'connected') return;
          queueMicrotask(() => stop());
          resolve();
        });
      });
    },
    call(name, input) {
      if (client) return client.call(name, input);
      return Promise.reject(new DBellError('connection-lost', 'the connection to the engine was lost'));
    },
    onEvent(listener) {
      eventListeners.add(listener);
      return () => eventListeners.delete(listener);
    },
  };
}
