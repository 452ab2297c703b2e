import { SvelteMap } from 'svelte/reactivity';
import type { DBellError } from '../../../engine/contract/errors.ts';
import type { ModelDescription } from '../../../engine/contract/models.ts';
import { asError, engine } from './engine.svelte.ts';

export type Inspection =
  | { state: 'loading' }
  | { state: 'done'; description: ModelDescription }
  | { state: 'failed'; error: DBellError };

/** What the engine said of models by their path. A model on disk may change, so that it is asked again whenever a person chooses it. */
class Inspections {
  readonly #byPath = new SvelteMap<string, Inspection>();

  get(path: string): Inspection | undefined {
    return this.#byPath.get(path);
  }

  description(path: string | null): ModelDescription | null {
    const found = path === null ? undefined : this.#byPath.get(path);
    return found?.state === 'done' ? found.description : null;
  }

  /** @param remember offer it again among the recent ones, if it is usable */
  async ask(path: string, remember = false): Promise<Inspection> {
    if (!this.description(path)) this.#byPath.set(path, { state: 'loading' });
    let result: Inspection;
    try {
      result = { state: 'done', description: await engine.call('inspect', { model: path, remember }) };
    } catch (error) {
      result = { state: 'failed', error: asError(error) };
    }
    this.#byPath.set(path, result);
    return result;
  }

  /** Asks only where nothing is known yet. */
  ensure(path: string): void {
    if (!this.#byPath.has(path)) void this.ask(path);
  }
}

export const inspections = new Inspections();
