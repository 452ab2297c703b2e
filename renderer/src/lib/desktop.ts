import type { Port } from '../../../engine/contract/port.ts';

/** What the desktop's preload offers the page; absent in a browser. Every function is named, none takes a channel. */
export interface Desktop {
  /** A port to the service's process; null while it is not there. */
  openEngine(): Promise<Port | null>;
  /** The system's dialog; null where the person cancelled. */
  chooseFolder(title: string): Promise<string | null>;
  chooseFile(title: string, extensions: string[]): Promise<string | null>;
  chooseNewFolder(title: string, suggestedPath: string): Promise<string | null>;
  chooseNewFile(title: string, suggestedPath: string): Promise<string | null>;
  /** Absolute path of something that was dropped on the page. */
  pathOfDroppedFile(file: File): string;
  /** Shows a file or folder in the system's file manager. */
  showInFolder(path: string): Promise<void>;
  /** Opens an https address of the allow-list in the system's browser. */
  openExternal(url: string): Promise<void>;
  /** The page itself has no permission to use the clipboard. */
  copyText(text: string): Promise<void>;
  copyPng(bytes: Uint8Array): Promise<void>;
  /** The Hugging Face token is kept by the system's key store and never comes back into the page. */
  hasHubToken(): Promise<boolean>;
  setHubToken(token: string): Promise<void>;
  clearHubToken(): Promise<void>;
  /** A command of the menu, such as `new-run`; returns how to stop listening. */
  onMenuCommand(listener: (command: string) => void): () => void;
}

export const desktop: Desktop | undefined = (globalThis as { dbellDesktop?: Desktop }).dbellDesktop;
