import { engine } from './engine.svelte.ts';

/** A path below the packages folder where nothing is yet. */
export async function suggestOutput(model: string, recipe: string): Promise<string> {
  return (await engine.call('outputs.suggest', { model, recipe })).path;
}
