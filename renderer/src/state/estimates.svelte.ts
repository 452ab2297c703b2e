import { SvelteMap } from 'svelte/reactivity';
import type { CallInput } from '../../../engine/contract/calls.ts';
import type { DBellError } from '../../../engine/contract/errors.ts';
import type { Estimate } from '../../../engine/contract/quantization.ts';
import { asError, engine } from './engine.svelte.ts';

type EstimateInput = CallInput<'estimate'>;

/** What a person types is taken for finished after this long. */
const settleMs = 250;

/**
 * The estimate of one draft. A new question replaces the one before; the last answer stays on the screen, marked as old, until the next is there.
 */
export class EstimateState {
  value: Estimate | null = $state.raw(null);
  error: DBellError | null = $state.raw(null);
  isOld = $state(false);
  #asked = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #key = '';

  ask(input: EstimateInput | null): void {
    const key = JSON.stringify(input);
    if (key === this.#key) return;
    this.#key = key;
    clearTimeout(this.#timer);
    const number = ++this.#asked;
    if (input === null) {
      this.value = null;
      this.error = null;
      return;
    }
    this.isOld = true;
    this.#timer = setTimeout(() => void this.#answer(input, number), settleMs);
  }

  async #answer(input: EstimateInput, number: number): Promise<void> {
    try {
      const value = await engine.call('estimate', input);
      if (number !== this.#asked) return;
      this.value = value;
      this.error = null;
    } catch (error) {
      if (number !== this.#asked) return;
      this.error = asError(error);
    }
    this.isOld = false;
  }
}

/** Bytes of every recipe for one model, from headers alone. */
class RecipeSizes {
  readonly sizes = new SvelteMap<string, { bytes: number; bits: number }>();
  loaded = $state(false);
  #key = '';
  #model = '';

  async ask(model: string, embeddingBits: EstimateInput['embeddingBits']): Promise<void> {
    const key = `${model}|${embeddingBits}`;
    if (this.#key === key) return;
    if (model !== this.#model) {
      // What is known of another model says nothing of this one, not even in which order its recipes are.
      this.sizes.clear();
      this.loaded = false;
    }
    this.#model = model;
    this.#key = key;
    try {
      const { sizes } = await engine.call('recipeSizes', { model, embeddingBits });
      if (this.#key !== key) return;
      this.sizes.clear();
      for (const { recipe, packageBytes, storedBitsPerWeight } of sizes) {
        this.sizes.set(recipe, { bytes: packageBytes, bits: storedBitsPerWeight });
      }
    } catch {
      // The estimate of the chosen recipe says what is wrong with the model.
      if (this.#key === key) this.#key = '';
    }
    if (this.#model === model) this.loaded = true;
  }
}

export const recipeSizes = new RecipeSizes();
