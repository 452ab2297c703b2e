import type { Settings } from '../../../engine/contract/settings.ts';
import { engine, onConnected } from './engine.svelte.ts';

const themeKey = 'dbell-theme';

/** The settings of the engine; the theme is also kept here, so that the first paint has it. */
class SettingsState {
  value: Settings | null = $state.raw(null);
  #systemIsDark = $state(false);

  constructor() {
    const dark = globalThis.matchMedia?.('(prefers-color-scheme: dark)');
    if (dark) {
      this.#systemIsDark = dark.matches;
      dark.addEventListener('change', ({ matches }) => {
        this.#systemIsDark = matches;
        this.#paint();
      });
    }
    this.#paint();
    engine.onEvent((event) => {
      if (event.type === 'settings-changed') this.#take(event.settings);
    });
    onConnected(async () => this.#take((await engine.call('settings.get', {})).settings));
  }

  get theme(): 'light' | 'dark' {
    const chosen = this.value?.theme ?? localStorage.getItem(themeKey) ?? 'system';
    if (chosen === 'light' || chosen === 'dark') return chosen;
    return this.#systemIsDark ? 'dark' : 'light';
  }

  async change(changes: Partial<Settings>): Promise<void> {
    this.#take((await engine.call('settings.set', changes)).settings);
  }

  #take(settings: Settings): void {
    this.value = settings;
    localStorage.setItem(themeKey, settings.theme);
    this.#paint();
  }

  #paint(): void {
    document.documentElement.dataset.theme = this.theme;
  }
}

export const settings = new SettingsState();
