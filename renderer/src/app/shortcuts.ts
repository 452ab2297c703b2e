import { commands } from './commands.ts';
import { palette } from './palette.svelte.ts';

const isMac = /Mac|iPhone|iPad/.test(globalThis.navigator?.platform ?? '');

/** `Mod+Shift+P` as this system writes it. */
export function showShortcut(shortcut: string): string {
  const keys = shortcut.split('+').map((key) => {
    if (key === 'Mod') return isMac ? '⌘' : 'Ctrl';
    if (key === 'Shift') return isMac ? '⇧' : 'Shift';
    if (key === 'Alt') return isMac ? '⌥' : 'Alt';
    return key;
  });
  return keys.join(isMac ? '' : '+');
}

function matches(event: KeyboardEvent, shortcut: string): boolean {
  const keys = shortcut.split('+');
  const key = keys.at(-1) ?? '';
  const mod = isMac ? event.metaKey : event.ctrlKey;
  // By place, not by character: Shift makes another one of a digit.
  const code = /^\d$/.test(key) ? `Digit${key}` : `Key${key}`;
  return (
    event.code === code &&
    mod === keys.includes('Mod') &&
    event.shiftKey === keys.includes('Shift') &&
    event.altKey === keys.includes('Alt')
  );
}

export const paletteShortcut = 'Mod+K';

export function handleShortcut(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.isComposing) return;
  if (matches(event, paletteShortcut)) {
    event.preventDefault();
    palette.open = !palette.open;
    return;
  }
  const command = commands.find(({ shortcut }) => shortcut !== undefined && matches(event, shortcut));
  if (command && (command.isOffered?.() ?? true)) {
    event.preventDefault();
    command.run();
  }
}
