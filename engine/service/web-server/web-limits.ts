/** Bounds of browser mode, each with its reason. */
export const webLimits = {
  /** Longest message of a page: a prompt of 4 MiB (contract limits), doubled for JSON's escapes, and room for the rest. */
  messageBytes: 9 * 1024 * 1024,
  /** Bytes of a socket before its greeting is accepted, frames included: a greeting has some 100, and whoever has not proved anything is to cost nothing. */
  greetingBytes: 4096,
  /** Windows of one person, with room for reloads that overlap. */
  connections: 32,
  /** Time from the opening of a socket to its first message, which proves that it may be here. */
  greetingMs: 5000,
  /** A page that does not take its messages any more is closed at this backlog; it comes back and asks for the state anew. */
  backlogBytes: 64 * 1024 * 1024,
  /** How often an idle socket is asked whether its page still lives. */
  pingIntervalMs: 30_000,
  /** Wrong tokens before the server refuses all others for a while: guessing 256 bits is hopeless, a flood is not to cost anything. */
  wrongGreetings: 64,
  wrongGreetingsWindowMs: 60_000,
  /** Request headers; ours are short. */
  headerBytes: 16 * 1024,
  requestMs: 10_000,
} as const;
