import type { Devices } from '../../../engine/contract/environment.ts';
import type { DBellError } from '../../../engine/contract/errors.ts';
import { asError, engine } from './engine.svelte.ts';

/** What can run packages besides the processor. Asked of the drivers when a screen first offers a choice, not before. */
class DevicesState {
  value: Devices | null = $state.raw(null);
  error: DBellError | null = $state.raw(null);
  #asked: Promise<void> | null = null;

  load(): Promise<void> {
    this.#asked ??= this.#ask();
    return this.#asked;
  }

  async #ask(): Promise<void> {
    try {
      this.value = await engine.call('devices', {});
      this.error = null;
    } catch (error) {
      this.error = asError(error);
      this.#asked = null;
    }
  }
}

export const devices = new DevicesState();
