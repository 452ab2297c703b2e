import { DBellError } from '../contract/errors.ts';
import { withoutControls } from '../contract/plain-text.ts';

/** Something that may pass by itself: no connection, a server that is busy. */
export class TransientFailure extends Error {
  /** What the server asked to wait; null where it said nothing. */
  readonly retryAfterMs: number | null;

  constructor(message: string, options: { retryAfterMs?: number | null; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.name = 'TransientFailure';
    this.retryAfterMs = options.retryAfterMs ?? null;
  }
}

/** A text from a server, made safe and short enough for a message. */
export function shortly(text: string): string {
  const plain = withoutControls(text)
    .replaceAll(/[\n\t\ufffd]+/g, ' ')
    .trim();
  return plain.length > 200 ? `${plain.slice(0, 200)}…` : plain;
}

/** Codes of a certificate that is not to be trusted; trying again does not change it. */
const certificateCodes = /^(CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|ERR_TLS_)/;

/** Why a request or its body failed, when no status tells. */
export function failureOf(cause: unknown, what: string, host: string): Error {
  if (cause instanceof TransientFailure || cause instanceof DBellError) return cause;
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  const code = (inner as { code?: unknown })?.code;
  const reason = inner instanceof Error ? shortly(inner.message) : String(inner);
  if (typeof code === 'string' && certificateCodes.test(code)) {
    return new DBellError(
      'network-error',
      `${what}: the certificate of ${host} cannot be trusted (${code}); check the address and this machine's clock`,
      { cause },
    );
  }
  const said =
    code === 'ENOTFOUND' || code === 'EAI_AGAIN'
      ? `${host} is not known; check the connection and the address of the server`
      : code === 'ECONNREFUSED'
        ? `${host} refuses connections`
        : `the connection to ${host} broke (${typeof code === 'string' ? code : reason})`;
  return new TransientFailure(`${what}: ${said}`, { cause });
}

/**
 * A status that is no success, as an error: transient for 408, 429 and 5xx. Reads the Hub's own words from `X-Error-Code` and `X-Error-Message`; cancels the
 * body.
 */
export async function refusalOf(
  response: Response,
  { endpoint, token }: { endpoint: string; token: string | null },
  what: string,
): Promise<Error> {
  await response.body?.cancel().catch(() => {});
  const { status, headers } = response;
  const host = URL.parse(response.url)?.host ?? URL.parse(endpoint)?.host ?? endpoint;
  const code = headers.get('x-error-code');
  const message = headers.get('x-error-message');
  const said = message === null ? '' : `: ${shortly(message)}`;
  if (code === 'GatedRepo') {
    return new DBellError(
      'access-denied',
      `${what} is gated: accept its licence on its page at ${endpoint}, then ${token === null ? 'give the access token of that account' : 'try again; the token given is not allowed to read it yet'} (${status}${said})`,
    );
  }
  if (status === 401) {
    return new DBellError(
      'access-denied',
      token === null
        ? `${what}: ${host} does not show it without an access token; the name is wrong, or it is private (401${said})`
        : `${what}: ${host} does not accept the access token; make a new one, or do without (401${said})`,
    );
  }
  if (status === 403) {
    return new DBellError('access-denied', `${what}: ${host} does not allow it (403${said})`);
  }
  if (status === 404 || status === 410) {
    return new DBellError('not-found', `${what}: ${host} does not have it (${status}${said})`);
  }
  if (status === 429) {
    return new TransientFailure(`${what}: ${host} has had too many requests (429${said}); try again later`, {
      retryAfterMs: retryAfterMs(headers.get('retry-after')),
    });
  }
  if (status >= 500 || status === 408) {
    return new TransientFailure(`${what}: ${host} cannot answer now (${status}${said})`, {
      retryAfterMs: retryAfterMs(headers.get('retry-after')),
    });
  }
  return new DBellError('network-error', `${what}: ${host} answered with status ${status}${said}`);
}

/** Seconds or a date, as RFC 9110 (10.2.3) allows; null for anything else. */
function retryAfterMs(header: string | null): number | null {
  if (header === null) return null;
  if (/^\d{1,9}$/.test(header)) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? null : Math.max(0, date - Date.now());
}
