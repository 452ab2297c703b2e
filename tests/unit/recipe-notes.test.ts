import { expect, test } from 'vitest';
import { openModel } from '../../engine/model/open.ts';
import { recipeNotes } from '../../engine/quantize/recipe-notes.ts';
import { resolveRecipe } from '../../engine/quantize/resolve-recipe.ts';
import { bundled } from '../assets.ts';

test.each<[string, Record<string, string>, boolean]>([
  ['grid-4', {}, true],
  ['grid-2', { columnScale: 'free' }, true],
  ['grid-4', { columnScale: 'folded' }, false],
  ['grid-4', { columnScale: 'none' }, false],
  ['gptq-4', {}, false],
])('%s with %j: whether it is said beforehand that GGUF cannot hold it: %s', async (name, set, isSaid) => {
  const source = await openModel(bundled.model);
  const { architecture } = source;
  source.close();
  const notes = recipeNotes(resolveRecipe(name, set, undefined, architecture.family), architecture);
  expect(notes.some(({ message }) => message.includes('cannot be exported to GGUF'))).toBe(isSaid);
  if (isSaid)
    expect(notes.map(({ message }) => message).join()).toContain('set columnScale=folded (or none)');
});
