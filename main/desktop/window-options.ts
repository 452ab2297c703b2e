import type { BrowserWindowConstructorOptions, WebPreferences } from 'electron';

/** How every window treats its page; no window may have other ones (docs/desktop.md). */
export function webPreferences(preload: string, isPackaged: boolean): WebPreferences {
  return {
    preload,
    contextIsolation: true,
    sandbox: true,
    nodeIntegration: false,
    nodeIntegrationInWorker: false,
    nodeIntegrationInSubFrames: false,
    webSecurity: true,
    allowRunningInsecureContent: false,
    experimentalFeatures: false,
    webviewTag: false,
    navigateOnDragDrop: false,
    safeDialogs: true,
    // Its dictionaries would be fetched from the network.
    spellcheck: false,
    devTools: !isPackaged,
  };
}

/** The smallest window at which every screen works. */
export const minimumSize = { width: 900, height: 600 } as const;
export const defaultSize = { width: 1280, height: 820 } as const;

export function windowOptions(
  preload: string,
  isPackaged: boolean,
  bounds: Partial<{ x: number; y: number; width: number; height: number }>,
): BrowserWindowConstructorOptions {
  return {
    ...defaultSize,
    ...bounds,
    minWidth: minimumSize.width,
    minHeight: minimumSize.height,
    // Shown when it has something to show.
    show: false,
    webPreferences: webPreferences(preload, isPackaged),
  };
}
