import type { CustomScheme } from 'electron';
import { securityHeaders } from '../../engine/service/web-server/security-headers.ts';
import type { StaticFile } from '../../engine/service/web-server/static-files.ts';

export const appScheme = 'app';
const appHost = 'studio';
/** The page's own origin; nothing else is ever shown. */
export const appOrigin = `${appScheme}://${appHost}`;
/** Of the hidden windows that compute on a GPU (compute-window.ts); they have a session of their own, in which the studio's page is not served. */
const computeHost = 'compute';
export const computeOrigin = `${appScheme}://${computeHost}`;

/** What the scheme may: be an origin of its own, in which the page's policy means what it says. */
export const appSchemePrivileges: CustomScheme = {
  scheme: appScheme,
  privileges: { standard: true, secure: true, supportFetchAPI: true, codeCache: true },
};

/** Whether an address is the page's own. */
export const isOwnAddress = (address: string): boolean => isAddressOf(address, appHost);
/** Whether it is that of a computing window's page. */
export const isComputeAddress = (address: string): boolean => isAddressOf(address, computeHost);

function isAddressOf(address: string, expected: string): boolean {
  try {
    const { protocol, host } = new URL(address);
    return protocol === `${appScheme}:` && host === expected;
  } catch {
    return false;
  }
}

/** Answers `app://studio/…`, or what `isOwn` says, from the files of the built page, which were listed at the start: no path leads anywhere else. */
export function answerAppRequest(
  files: ReadonlyMap<string, StaticFile>,
  request: { url: string; method: string },
  isOwn: (address: string) => boolean = isOwnAddress,
): Response {
  const refuse = (status: number) => new Response(null, { status, headers: { ...securityHeaders } });
  if (!isOwn(request.url)) return refuse(403);
  if (request.method !== 'GET') return refuse(405);
  const file = files.get(new URL(request.url).pathname);
  if (file === undefined) return refuse(404);
  return new Response(new Uint8Array(file.bytes), {
    headers: { ...securityHeaders, 'content-type': file.contentType },
  });
}
