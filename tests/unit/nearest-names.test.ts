import { expect, test } from 'vitest';
import { didYouMean, editDistance, nearestNames } from '../../engine/contract/nearest-names.ts';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import { resolveRecipe } from '../../engine/quantize/resolve-recipe.ts';

/** By its definition, without a table. */
function distance(a: string, b: string): number {
  if (a === '' || b === '') return a.length + b.length;
  const ways = [
    distance(a.slice(1), b) + 1,
    distance(a, b.slice(1)) + 1,
    distance(a.slice(1), b.slice(1)) + (a[0] === b[0] ? 0 : 1),
  ];
  if (a.length > 1 && b.length > 1 && a[0] === b[1] && a[1] === b[0])
    ways.push(distance(a.slice(2), b.slice(2)) + 1);
  return Math.min(...ways);
}

test('the distance of two words is that of its definition', () => {
  const random = new SeededRandom(1);
  const word = () =>
    Array.from(
      { length: Math.floor(random.nextDouble() * 6) },
      () => 'abc'[Math.floor(random.nextDouble() * 3)],
    ).join('');
  for (let round = 0; round < 300; round++) {
    const [a, b] = [word(), word()];
    expect(editDistance(a, b), `${a} ${b}`).toBe(distance(a, b));
  }
});

test.each([
  ['dampign', ['targets.damping', 'compensation.damping']],
  ['Damping', ['targets.damping', 'compensation.damping']],
  ['compensation.dampng', ['compensation.damping']],
  ['leves', ['binarizer.levels']],
  ['colour', []],
  ['', []],
])('%s means %j', (typed, names) => {
  const all = ['targets.damping', 'compensation.damping', 'binarizer.levels', 'activationBits'];
  expect(nearestNames(typed, all)).toEqual(names);
});

test('what may be meant is a question, or nothing', () => {
  expect(didYouMean('one', ['on', 'ones', 'far away'])).toBe('did you mean on or ones?');
  expect(didYouMean('gptq3', ['gptq-3', 'rtn-4'])).toBe('did you mean gptq-3?');
  expect(didYouMean('x', ['something else'])).toBe('');
});

test('a mistyped setting or recipe is answered with what is near, and with all where nothing is', () => {
  const of = (name: string, set: Record<string, string>) => () =>
    resolveRecipe(name, set, undefined, 'llama');
  expect(of('gptq-4', { dampign: '0.1' })).toThrowError(
    '--set dampign: no recipe has this setting; did you mean targets.damping or compensation.damping?',
  );
  expect(of('gptq-4', { colour: 'red' })).toThrowError(
    /no recipe has this setting; allowed: transform\.kind/,
  );
  expect(of('gptq4', {})).toThrowError(/there is no recipe "gptq4"; did you mean gptq-4\? recipes are: /);
});
