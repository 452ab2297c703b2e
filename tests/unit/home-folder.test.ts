import os from 'node:os';
import path from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { type CallName, calls } from '../../engine/contract/calls.ts';
import { folderRoots } from '../../engine/service/folders/roots.ts';
import { defaultHome } from '../../engine/service/home.ts';
import { expandHome, personFolder, withHomeExpanded } from '../../engine/service/home-folder.ts';

const home = os.homedir();

afterEach(() => vi.restoreAllMocks());

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

/** As `os` answers a process without HOME whose user id belongs to no account, as containers start one. */
function withoutAccount() {
  const refuse = () => {
    throw new Error('ENOENT');
  };
  vi.spyOn(os, 'homedir').mockImplementation(refuse);
  vi.spyOn(os, 'userInfo').mockImplementation(refuse);
}

test('an empty HOME is none: the account says where its folder is', () => {
  vi.spyOn(os, 'homedir').mockReturnValue('');
  expect(personFolder()).toBe(os.userInfo().homedir);
  expect(expandHome('~/models')).toBe(`${os.userInfo().homedir}/models`);
  expect(path.isAbsolute(defaultHome({}, 'linux'))).toBe(true);
});

test('without HOME and account the folder of the history has to be named', () => {
  withoutAccount();
  const missing = expect.objectContaining({
    code: 'invalid-input',
    message: expect.stringContaining('set DBELL_HOME to a folder'),
  });
  expect(() => defaultHome({}, 'linux')).toThrow(missing);
  expect(() => defaultHome({}, 'darwin')).toThrow(missing);
  expect(defaultHome({ DBELL_HOME: '/h' }, 'linux')).toBe('/h');
  expect(defaultHome({ XDG_DATA_HOME: '/d' }, 'linux')).toBe('/d/dbell-studio');
  expect(() => expandHome('~/models')).toThrow('HOME is not set');
  const roots = folderRoots({ packagesFolder: '/does/not/exist', allowedFolders: [] });
  expect(roots.map(({ kind }) => kind)).toContain('samples');
  expect(roots.map(({ kind }) => kind)).not.toContain('home');
});

test('~ in DBELL_HOME, which no shell has written out', () => {
  expect(defaultHome({ DBELL_HOME: '~/h' }, 'linux')).toBe(`${home}/h`);
});
