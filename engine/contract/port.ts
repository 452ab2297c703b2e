import { z } from 'zod';
import type { Transport } from './client.ts';
import { DBellError } from './errors.ts';
import { type Request, responseSchema } from './protocol.ts';

/**
 * A two-way channel of plain values, already open and already trusted to belong to this session: a WebSocket that carries JSON, a MessagePort,
 * or two ends in one process. Order is kept; what was sent before the close arrives before it.
 */
export interface Port {
  /** Does nothing once the port is closed. */
  send(message: unknown): void;
  /** Set before the first message can arrive, that is in the turn in which the port was received. */
  onMessage(listener: (message: unknown) => void): void;
  /** Called once, after the last message. */
  onClose(listener: () => void): void;
  close(): void;
}

/** What a service sends over a port. `sequence` counts the service's events from 1, so that a snapshot can be joined with what follows it. */
export const serverMessageSchema = z.union([
  z.strictObject({ response: responseSchema }),
  z.strictObject({ event: z.unknown(), sequence: z.number().int().nonnegative() }),
]);
export type ServerMessage = z.infer<typeof serverMessageSchema>;

/** The caller's end of a port. Requests that are open when the port closes fail with `connection-lost`. */
export function createPortTransport(port: Port): Transport {
  const waiting = new Map<
    Request['id'],
    { resolve: (response: unknown) => void; reject: (e: Error) => void }
  >();
  const listeners = new Set<(event: unknown, sequence: number) => void>();
  let closed = false;
  const lost = () => new DBellError('connection-lost', 'the connection to the engine was lost');
  port.onMessage((raw) => {
    const parsed = serverMessageSchema.safeParse(raw);
    // What nobody asked for and nobody understands is dropped; the request it may have answered fails when the port closes.
    if (!parsed.success) return;
    const message = parsed.data;
    if ('response' in message) {
      const { id } = message.response;
      if (id === null) return;
      waiting.get(id)?.resolve(message.response);
      waiting.delete(id);
    } else {
      for (const listener of listeners) listener(message.event, message.sequence);
    }
  });
  port.onClose(() => {
    closed = true;
    for (const { reject } of waiting.values()) reject(lost());
    waiting.clear();
  });
  return {
    request(request) {
      if (closed) return Promise.reject(lost());
      const { promise, resolve, reject } = Promise.withResolvers<unknown>();
      waiting.set(request.id, { resolve, reject });
      port.send(request);
      return promise;
    },
    onEvent(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
