import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Client, createClient } from '../../engine/contract/client.ts';
import { rootOf } from '../../engine/service/folders/confine.ts';
import { listedEntries } from '../../engine/service/folders/listing.ts';
import { childProcessHost } from '../../engine/service/process-host.ts';
import { createService, type Service } from '../../engine/service/service.ts';

const base = realpathSync(mkdtempSync(path.join(os.tmpdir(), 'dbell-folders-')));
const allowed = path.join(base, 'allowed');
const outside = path.join(base, 'outside');
let service: Service;
let client: Client;

beforeAll(async () => {
  mkdirSync(path.join(allowed, 'models', 'tiny'), { recursive: true });
  mkdirSync(path.join(allowed, 'packed'));
  mkdirSync(path.join(allowed, 'out.partial'));
  mkdirSync(path.join(allowed, '.hidden'));
  mkdirSync(path.join(outside, 'secret'), { recursive: true });
  mkdirSync(path.join(base, 'allowed-not'));
  writeFileSync(path.join(allowed, 'models', 'tiny', 'config.json'), '{"model_type": "llama"}');
  writeFileSync(
    path.join(allowed, 'packed', 'config.json'),
    '{"quantization_config": {"quant_method": "dbell"}}',
  );
  writeFileSync(path.join(allowed, 'out.partial', 'run.json'), '{}');
  writeFileSync(path.join(allowed, 'model10.gguf'), 'GGUF');
  writeFileSync(path.join(allowed, 'model2.gguf'), 'GGUF');
  writeFileSync(path.join(allowed, 'text.txt'), 'text');
  writeFileSync(path.join(allowed, 'picture.bin'), '');
  symlinkSync(outside, path.join(allowed, 'way-out'));
  symlinkSync(path.join(allowed, 'models'), path.join(allowed, 'way-in'));
  symlinkSync(path.join(allowed, 'nothing'), path.join(allowed, 'dangling'));
  symlinkSync(path.join(allowed, 'loop'), path.join(allowed, 'loop'));
  execFileSync('mkfifo', [path.join(allowed, 'pipe')]);
  mkdirSync(path.join(allowed, 'piped'));
  execFileSync('mkfifo', [path.join(allowed, 'piped', 'config.json')]);
  service = createService({ home: path.join(base, 'home'), processHost: childProcessHost });
  client = createClient({ request: (request) => service.handle(request), onEvent: () => () => {} });
  await client.call('settings.set', { allowedFolders: [allowed, path.join(base, 'absent'), allowed] });
});
afterAll(async () => {
  await service.close();
  rmSync(base, { recursive: true });
});

const list = (folder: string) => client.call('folders.list', { path: folder });

test('roots are the folders that are there, each once', async () => {
  const { roots } = await client.call('folders.roots', {});
  expect(roots.filter(({ path: root }) => root === allowed)).toEqual([
    { path: allowed, name: 'allowed', kind: 'allowed' },
  ]);
  expect(roots.map(({ path: root }) => root)).not.toContain(path.join(base, 'absent'));
  expect(roots.map(({ kind }) => kind)).toContain('home');
  expect(roots.map(({ kind }) => kind)).toContain('samples');
});

test('a folder shows folders first, by name and number, and what they look like', async () => {
  const { entries, parent, truncated, path: listed } = await list(allowed);
  expect({ parent, truncated, listed }).toEqual({ parent: null, truncated: false, listed: allowed });
  expect(entries.map(({ name, kind, looksLike }) => [name, kind, looksLike])).toEqual([
    ['models', 'folder', null],
    ['out.partial', 'folder', 'unfinished'],
    ['packed', 'folder', 'package'],
    ['piped', 'folder', null],
    ['way-in', 'folder', null],
    ['model2.gguf', 'file', 'gguf'],
    ['model10.gguf', 'file', 'gguf'],
    ['picture.bin', 'file', null],
    ['text.txt', 'file', 'text'],
  ]);
  expect(entries.find(({ name }) => name === 'text.txt')).toMatchObject({
    bytes: 4,
    path: path.join(allowed, 'text.txt'),
    modifiedAt: expect.stringMatching(/^\d{4}-/),
  });
});

test('a link that stays inside is followed to its true place', async () => {
  const listed = await list(path.join(allowed, 'way-in'));
  expect(listed).toMatchObject({ path: path.join(allowed, 'models'), parent: allowed });
  expect(listed.entries).toMatchObject([{ name: 'tiny', looksLike: 'model' }]);
  expect(await list(path.join(allowed, 'models', 'tiny'))).toMatchObject({ looksLike: 'model' });
});

test.each([
  ['the folder above', path.join(allowed, '..')],
  ['a folder beside', outside],
  ['a folder whose name begins like the root', path.join(base, 'allowed-not')],
  ['a way through ..', `${allowed}/models/../../outside`],
  ['a link that leads out', path.join(allowed, 'way-out')],
  ['a folder behind such a link', path.join(allowed, 'way-out', 'secret')],
  ['the root of the file system', '/'],
  ['a relative path', 'models'],
  ['an absent folder within', path.join(allowed, 'nothing')],
  ['an absent folder outside', path.join(outside, 'nothing')],
  ['a link to nothing', path.join(allowed, 'dangling')],
  ['a link to itself', path.join(allowed, 'loop')],
])('%s is answered like something that is not there', async (_, target) => {
  await expect(list(target)).rejects.toMatchObject({
    code: 'not-found',
    message: `${target} is not there, or not below a folder that you allow; allow further folders in the settings`,
  });
});

test('a file is no folder, and a pipe in place of a config is not opened', async () => {
  await expect(list(path.join(allowed, 'text.txt'))).rejects.toMatchObject({ code: 'invalid-input' });
  await expect(list(path.join(allowed, 'piped'))).resolves.toMatchObject({ looksLike: null, entries: [] });
});

test('a folder is created inside only, by a name that is a name', async () => {
  await expect(client.call('folders.create', { parent: allowed, name: 'new' })).resolves.toEqual({
    path: path.join(allowed, 'new'),
  });
  await expect(client.call('folders.create', { parent: allowed, name: 'new' })).rejects.toMatchObject({
    code: 'output-exists',
  });
  for (const name of ['..', '.', 'a/b', 'a\\b', '', ' ', '\u00a0\t', 'a\0b', 'x'.repeat(256)]) {
    await expect(client.call('folders.create', { parent: allowed, name })).rejects.toMatchObject({
      code: 'invalid-input',
    });
  }
  for (const parent of [outside, path.join(allowed, 'way-out')]) {
    await expect(client.call('folders.create', { parent, name: 'new' })).rejects.toMatchObject({
      code: 'not-found',
    });
  }
  expect(readdirSync(outside)).toEqual(['secret']);
});

test('a folder of very many entries is listed in part, and says so', async () => {
  const many = path.join(allowed, 'many');
  mkdirSync(many);
  for (let index = 0; index < listedEntries + 5; index++) writeFileSync(path.join(many, `${index}`), '');
  const { entries, truncated } = await list(many);
  expect(entries.length).toBe(listedEntries);
  expect(truncated).toBe(true);
});

test('a folder that is no longer allowed is no longer shown', async () => {
  const { settings } = await client.call('settings.get', {});
  await client.call('settings.set', { allowedFolders: [] });
  await expect(list(allowed)).rejects.toMatchObject({ code: 'not-found' });
  await client.call('settings.set', { allowedFolders: settings.allowedFolders });
  await expect(list(allowed)).resolves.toMatchObject({ path: allowed });
});

test('everything lies below the root of the file system', () => {
  expect(rootOf('/etc', ['/'])).toBe('/');
  expect(rootOf('/..a', ['/'])).toBe('/');
  expect(rootOf('/a/..b', ['/a'])).toBe('/a');
});
