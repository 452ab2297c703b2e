import type { Session, WebContents } from 'electron';
import { appOrigin, isOwnAddress } from './app-protocol.ts';
import { openableAddress } from './external-links.ts';

/**
 * What no page may do, whatever it is and however it came here: leave its origin, open windows or embed others, get a permission, reach the
 * network.
 */
export function guardWebContents(contents: WebContents, openExternal: (address: string) => void): void {
  contents.on('will-navigate', (event) => {
    if (!isOwnAddress(event.url)) event.preventDefault();
  });
  contents.on('will-frame-navigate', (event) => {
    if (!event.isMainFrame || !isOwnAddress(event.url)) event.preventDefault();
  });
  contents.on('will-redirect', (event) => {
    if (!isOwnAddress(event.url)) event.preventDefault();
  });
  contents.on('will-attach-webview', (event) => event.preventDefault());
  contents.setWindowOpenHandler(({ url }) => {
    const address = openableAddress(url);
    if (address !== null) openExternal(address);
    return { action: 'deny' };
  });
}

const isOwnBlob = (address: string) => address.startsWith(`blob:${appOrigin}/`);

/** Developer tools load from their own scheme, in windows that are not packaged. */
const developerTools = 'devtools://';

/** `isOwn` says which addresses pages of this session load from. */
export function guardSession(session: Session, isOwn: (address: string) => boolean = isOwnAddress): void {
  session.setPermissionRequestHandler((_contents, _permission, decide) => decide(false));
  session.setPermissionCheckHandler(() => false);
  session.setDevicePermissionHandler(() => false);
  session.setDisplayMediaRequestHandler((_request, decide) => decide({}));
  session.webRequest.onBeforeRequest((details, decide) => {
    const { url } = details;
    decide({ cancel: !isOwn(url) && !isOwnBlob(url) && !url.startsWith(developerTools) });
  });
  // The page saves what it made itself (pictures, tables); the system asks where to.
  session.on('will-download', (event, item) => {
    if (!isOwnBlob(item.getURL())) event.preventDefault();
  });
}

/** Whether a message comes from the page in the main frame of a window of ours. */
export function isTrustedFrame(frame: { origin: string; parent: unknown } | null): boolean {
  return frame !== null && frame.parent === null && frame.origin === appOrigin;
}
