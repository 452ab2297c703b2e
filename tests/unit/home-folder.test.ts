import os from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { type CallName, calls } from '../../engine/contract/calls.ts';
import { expandHome, withHomeExpanded } from '../../engine/service/home-folder.ts';

const home = os.homedir();

test.each([
  ['~', home],
  ['~/models/a', `${home}/models/a`],
  ['~backup', '~backup'],
  ['~root/x', '~root/x'],
  ['./~/x', './~/x'],
  ['/a/~/b', '/a/~/b'],
  ['', ''],
])('%s is %s', (typed, expanded) => {
  expect(expandHome(typed)).toBe(expanded);
});

test.each<[CallName, object, object]>([
  ['inspect', { model: '~/m' }, { model: `${home}/m`, remember: false }],
  ['folders.list', { path: '~' }, { path: home }],
  ['folders.create', { parent: '~/m', name: '~' }, { parent: `${home}/m`, name: '~' }],
  [
    'settings.set',
    { packagesFolder: '~/p', allowedFolders: ['~/a', '/b'] },
    { packagesFolder: `${home}/p`, allowedFolders: [`${home}/a`, '/b'] },
  ],
  ['settings.set', { packagesFolder: null }, { packagesFolder: null }],
  [
    'previewText',
    { model: '/m', text: { path: '~/t' } },
    { model: '/m', text: { path: `${home}/t` }, windows: 64 },
  ],
  [
    'previewText',
    { model: '/m', text: { bundled: '~/t' } },
    { model: '/m', text: { bundled: '~/t' }, windows: 64 },
  ],
])('of %s %j the paths are written out, and nothing else', (name, input, expected) => {
  const { input: schema } = calls[name];
  expect(withHomeExpanded(schema, schema.parse(input))).toEqual(expected);
});

test('paths inside of what a quantization is followed by are written out too', () => {
  const { input: schema } = calls.quantize;
  const request = schema.parse({
    ...{ model: '~/m', recipe: 'gptq-4', calibration: { path: '~/c' }, out: path.posix.join('~', 'o') },
    followUp: { quality: { text: { path: '~/q' } } },
  });
  expect(withHomeExpanded(schema, request)).toEqual({
    ...request,
    ...{ model: `${home}/m`, calibration: { path: `${home}/c` }, out: `${home}/o` },
    followUp: { ...request.followUp, quality: { ...request.followUp?.quality, text: { path: `${home}/q` } } },
  });
});
