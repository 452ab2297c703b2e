import { SvelteMap } from 'svelte/reactivity';
import type { CallInput } from '../../../engine/contract/calls.ts';
import type { Estimate } from '../../../engine/contract/quantization.ts';
import { AnswerState } from './answers.svelte.ts';
import { engine } from './engine.svelte.ts';

type EstimateInput = CallInput<'estimate'>;

/** The estimate of one draft. */
export class EstimateState extends AnswerState<EstimateInput, Estimate> {
  constructor() {
    super((input) => engine.call('estimate', input));
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
