import { setTimeout as sleep } from 'node:timers/promises';
import { endpointProblem, isLoopback } from '../contract/endpoint.ts';
import { DBellError } from '../contract/errors.ts';
import { failureOf, refusalOf, shortly, TransientFailure } from './failures.ts';
import { type HubTimes, hubLimits, hubTimes } from './limits.ts';

/** Where models come from, and with whose rights. */
export interface HubConnection {
  /** Without a slash at its end. */
  readonly endpoint: string;
  readonly token: string | null;
  /** Aborted when the work is to stop. */
  readonly signal: AbortSignal;
  readonly times: HubTimes;
  /** In a row that bring nothing new, before the person is told. */
  readonly attempts: number;
}

/** Visible ASCII: what a header can carry. */
const tokenPattern = /^[\x21-\x7e]+$/;

/** @throws DBellError `invalid-input` for an endpoint or a token that cannot be used */
export function connectionTo(
  endpoint: string,
  token: string | null,
  signal: AbortSignal,
  times: HubTimes = hubTimes,
  attempts: number = hubLimits.attempts,
): HubConnection {
  const problem = endpointProblem(endpoint);
  if (problem !== null) throw new DBellError('invalid-input', `the server ${shortly(endpoint)}: ${problem}`);
  if (token !== null && !tokenPattern.test(token)) {
    throw new DBellError('invalid-input', 'the access token holds blanks or characters that no token has');
  }
  return { endpoint: endpoint.replace(/\/+$/, ''), token, signal, times, attempts };
}

export interface RequestOptions {
  /** What is asked for, for messages: `a/b: model.safetensors`. */
  what: string;
  headers?: Readonly<Record<string, string>>;
}

const redirectStatuses = new Set([301, 302, 303, 307, 308]);

/**
 * One GET, redirects followed by hand: over https alone (http on this machine itself, if the endpoint is there too), and the token goes to the endpoint's own
 * origin and to no other. The answer is whatever status the last server gives.
 *
 * @throws TransientFailure where no answer came; DBellError `stopped`, `network-error`
 */
export async function request(
  connection: HubConnection,
  address: string,
  { what, headers = {} }: RequestOptions,
): Promise<Response> {
  const home = new URL(connection.endpoint);
  let target = allowed(URL.parse(address), home, what);
  for (let hop = 0; ; hop++) {
    const response = await requestOnce(connection, target, headers, target.origin === home.origin, what);
    const location = response.headers.get('location');
    if (!redirectStatuses.has(response.status) || location === null) return response;
    await response.body?.cancel();
    if (hop === hubLimits.redirects) {
      throw new DBellError(
        'network-error',
        `${what}: more than ${hubLimits.redirects} redirects from ${home.host}; the server is set up wrongly`,
      );
    }
    target = allowed(URL.parse(location, target.href), home, what);
  }
}

function allowed(target: URL | null, home: URL, what: string): URL {
  const isAllowed =
    target !== null &&
    target.username === '' &&
    target.password === '' &&
    (isLoopback(target)
      ? isLoopback(home) && (target.protocol === 'http:' || target.protocol === 'https:')
      : target.protocol === 'https:');
  if (isAllowed) return target;
  throw new DBellError(
    'network-error',
    `${what}: the server ${home.host} leads to ${target === null ? 'no valid address' : shortly(`${target.protocol}//${target.host}`)}; only https to other machines is followed`,
  );
}

async function requestOnce(
  { token, signal, times }: HubConnection,
  target: URL,
  headers: Readonly<Record<string, string>>,
  isHome: boolean,
  what: string,
): Promise<Response> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), times.answerMs);
  try {
    return await fetch(target, {
      redirect: 'manual',
      signal: AbortSignal.any([signal, late.signal]),
      headers: {
        'user-agent': 'dbell-studio',
        ...headers,
        ...(isHome && token !== null ? { authorization: `Bearer ${token}` } : {}),
      },
    });
  } catch (cause) {
    if (signal.aborted) throw new DBellError('stopped', 'stopped');
    if (late.signal.aborted) {
      throw new TransientFailure(`${what}: ${target.host} gave no answer within ${times.answerMs / 1000} s`);
    }
    throw failureOf(cause, what, target.host);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * The whole body of a successful GET, up to `maximumBytes`. What may pass by itself (no connection, 429, 5xx) is tried again.
 *
 * @throws DBellError `network-error`, `access-denied`, `not-found`, `stopped`
 */
export async function fetchBytes(
  connection: HubConnection,
  address: string,
  options: RequestOptions & { maximumBytes: number },
): Promise<{ bytes: Uint8Array; response: Response }> {
  return withRetries(connection, async () => {
    const response = await request(connection, address, options);
    if (!response.ok) throw await refusalOf(response, connection, options.what);
    return { bytes: await readBody(connection, response, options), response };
  });
}

async function readBody(
  { signal, times }: HubConnection,
  response: Response,
  { what, maximumBytes }: { what: string; maximumBytes: number },
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of bodyChunks(response, { signal, stallMs: times.stallMs, what })) {
    size += chunk.length;
    if (size > maximumBytes) {
      await response.body?.cancel().catch(() => {});
      throw new DBellError(
        'network-error',
        `${what}: the answer has more than ${maximumBytes} bytes, the limit here`,
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/**
 * A body piece by piece. Ends the connection when the loop is left early.
 *
 * @throws TransientFailure where the connection breaks or nothing comes for `stallMs`; DBellError `stopped`
 */
export async function* bodyChunks(
  response: Response,
  { signal, stallMs, what }: { signal: AbortSignal; stallMs: number; what: string },
): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  if (!reader) return;
  try {
    while (true) {
      const { value, done } = await inTime(reader.read(), stallMs, what);
      if (done) return;
      yield value;
    }
  } catch (cause) {
    if (signal.aborted) throw new DBellError('stopped', 'stopped');
    throw failureOf(cause, what, URL.parse(response.url)?.host ?? 'the server');
  } finally {
    await reader.cancel().catch(() => {});
  }
}

async function inTime<T>(work: Promise<T>, limitMs: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new TransientFailure(`${what}: nothing came for ${limitMs / 1000} s`)),
      limitMs,
    );
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function withRetries<T>(connection: HubConnection, work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      await waitBeforeRetry(connection, error, attempt);
    }
  }
}

/** Resolves when it is time for the next attempt. Throws what is no use to try again, and after `attempts` attempts. */
export async function waitBeforeRetry(
  { signal, times, attempts }: HubConnection,
  error: unknown,
  attempt: number,
): Promise<void> {
  if (!(error instanceof TransientFailure)) throw error;
  const waitMs = error.retryAfterMs ?? times.retryMs * 2 ** (attempt - 1);
  if (attempt >= attempts || waitMs > hubLimits.retryAfterMs) {
    throw new DBellError('network-error', error.message, { cause: error });
  }
  try {
    await sleep(waitMs, undefined, { signal });
  } catch {
    throw new DBellError('stopped', 'stopped');
  }
}
