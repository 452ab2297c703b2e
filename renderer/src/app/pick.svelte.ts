import { desktop } from '../lib/desktop.ts';
import { strings } from '../strings/index.ts';

export type PickKind = 'model' | 'package' | 'text' | 'new-folder' | 'new-file' | 'folder' | 'json';

interface Request {
  kind: PickKind;
  start: string;
  resolve: (path: string | null) => void;
}

/** The folder browser's dialog, one for the window; in the desktop the system's own dialogs take its place. */
class Picker {
  request: Request | null = $state.raw(null);

  finish(path: string | null): void {
    this.request?.resolve(path);
    this.request = null;
  }
}

export const picker = new Picker();

/** A path that the person picked, or null. `start` is where looking begins. */
export async function pickPath(kind: PickKind, start = ''): Promise<string | null> {
  if (desktop) {
    const title = strings.picker.titles[kind];
    if (kind === 'new-folder') return desktop.chooseNewFolder(title, start);
    if (kind === 'new-file') return desktop.chooseNewFile(title, start);
    if (kind === 'json') return desktop.chooseFile(title, ['json']);
    if (kind === 'text') return desktop.chooseFile(title, ['txt', 'jsonl']);
    return desktop.chooseFolder(title);
  }
  picker.finish(null);
  return new Promise((resolve) => {
    picker.request = { kind, start, resolve };
  });
}
