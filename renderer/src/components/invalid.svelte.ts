import { SvelteSet } from 'svelte/reactivity';

/** Fields of the screen in which something stands that cannot be taken: what they lead to is not to begin with another value than the one in sight. */
class InvalidFields {
  readonly #ids = new SvelteSet<string>();

  get any(): boolean {
    return this.#ids.size > 0;
  }

  /** To be returned from an effect of the field: notes that it is invalid until it is not, or is gone. */
  note(id: string): () => void {
    this.#ids.add(id);
    return () => this.#ids.delete(id);
  }
}

export const invalidFields = new InvalidFields();

/** Leads to the first such number of the screen. */
export function focusInvalid(): boolean {
  const field = document.querySelector<HTMLElement>('main input[type=number][aria-invalid]');
  field?.focus();
  return field !== null;
}
