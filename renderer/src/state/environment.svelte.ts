import type { CallOutput } from '../../../engine/contract/calls.ts';
import type { Environment } from '../../../engine/contract/environment.ts';
import type { DBellError } from '../../../engine/contract/errors.ts';
import { asError, engine, onConnected } from './engine.svelte.ts';

export type RecipeDescription = CallOutput<'recipes'>['recipes'][number];

/** What the engine says of the machine and of itself; does not change while it runs, except for folders set by the person. */
class EnvironmentState {
  value: Environment | null = $state.raw(null);
  recipes: RecipeDescription[] = $state.raw([]);
  error: DBellError | null = $state.raw(null);

  constructor() {
    onConnected(() => this.load());
    engine.onEvent((event) => {
      if (event.type === 'settings-changed') void this.load();
    });
  }

  async load(): Promise<void> {
    try {
      const [environment, { recipes }] = await Promise.all([
        engine.call('environment', {}),
        engine.call('recipes', {}),
      ]);
      this.value = environment;
      this.recipes = recipes;
      this.error = null;
    } catch (error) {
      this.error = asError(error);
    }
  }

  isSample(path: string): boolean {
    return this.value?.samples.models.some((sample) => sample.path === path) ?? false;
  }
}

export const environment = new EnvironmentState();
