import { z } from 'zod';

/**
 * First message of a page over its WebSocket: the one-time token of the address that opened it, or the session that an earlier greeting got. The
 * token travels in the address' fragment, which no browser sends anywhere, and the session is kept in storage that belongs to this origin with its
 * port, unlike a cookie, which every local server would be shown.
 */
export const greetingSchema = z.union([
  z.strictObject({ token: z.string().min(1).max(128) }),
  z.strictObject({ session: z.string().min(1).max(128) }),
]);
export type Greeting = z.infer<typeof greetingSchema>;

/** Answer to a greeting: from here on the socket is a port of the contract. A wrong greeting is answered by a close with `refusedCloseCode`. */
export const welcomeSchema = z.strictObject({ session: z.string().max(128) });

/** Close code of the application's own range: the greeting was wrong, coming again with the same is no use. */
export const refusedCloseCode = 4401;

/** Path of the WebSocket on the server that serves the page. */
export const webSocketPath = '/engine';
