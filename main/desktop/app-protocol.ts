import type { CustomScheme } from 'electron';
import { securityHeaders } from '../../engine/service/web-server/security-headers.ts';
import type { StaticFile } from '../../engine/service/web-server/static-files.ts';

export const appScheme = 'app';
const appHost = 'studio';
/** The page's own origin; nothing else is ever shown. */
export const appOrigin = `${appScheme}://${appHost}`;

/** What the scheme may: be an origin of its own, in which the page's policy means what it says. */
export const appSchemePrivileges: CustomScheme = {
  scheme: appScheme,
  privileges: { standard: true, secure: true, supportFetchAPI: true, codeCache: true },
};

/** Whether an address is the page's own. */
export function isOwnAddress(address: string): boolean {
  try {
    const { protocol, host } = new URL(address);
    return protocol === `${appScheme}:` && host === appHost;
  } catch {
    return false;
  }
}

/** Answers `app://studio/…` from the files of the built page, which were listed at the start: no path leads anywhere else. */
export function answerAppRequest(
  files: ReadonlyMap<string, StaticFile>,
  request: { url: string; method: string },
): Response {
  const refuse = (status: number) => new Response(null, { status, headers: { ...securityHeaders } });
  if (!isOwnAddress(request.url)) return refuse(403);
  if (request.method !== 'GET') return refuse(405);
  const file = files.get(new URL(request.url).pathname);
  if (file === undefined) return refuse(404);
  return new Response(new Uint8Array(file.bytes), {
    headers: { ...securityHeaders, 'content-type': file.contentType },
  });
}
