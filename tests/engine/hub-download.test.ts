import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import SqliteDatabase from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DBellError } from '../../engine/contract/errors.ts';
import { setFileFault } from '../../engine/files/faults.ts';
import { lockFolder } from '../../engine/files/folder-lock.ts';
import { DownloadStore } from '../../engine/hub/store.ts';
import { discardDownload, unfinishedDownloads } from '../../engine/hub/unfinished.ts';
import { inspectModel } from '../../engine/model/open.ts';
import { commitOf, FakeHub } from './hub-server.ts';
import { Downloads, noise, repositoryOf, tinyModel } from './hub-support.ts';

let hub: FakeHub;
let downloads: Downloads;

beforeEach(async () => {
  hub = await FakeHub.start();
  downloads = new Downloads();
  hub.repositories.set('lab/tiny', repositoryOf(tinyModel));
});
afterEach(async () => {
  setFileFault(null);
  await hub.stop();
  downloads.remove();
});

const weights = 'model.safetensors';
/** Makes the weights long enough to be cut in the middle. */
function longWeights(content = noise(400_000)): Buffer {
  hub.repositories.get('lab/tiny')!.files[weights] = { content, isLarge: true };
  return content;
}
const fetchTiny = (options = {}) => downloads.fetch(hub.endpoint, { name: 'lab/tiny' }, options);
const target = () => path.join(downloads.folder, 'lab', 'tiny');
const stored = (name = weights) => readFileSync(path.join(target(), name));
const errorOf = async (work: Promise<unknown>): Promise<DBellError> => {
  const error = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(DBellError);
  return error as DBellError;
};

test('a model folder is fetched whole, checked, and can be opened', async () => {
  hub.repositories.get('lab/tiny')!.files['training.log'] = { content: noise(1000), isLarge: false };
  hub.repositories.get('lab/tiny')!.files['onnx/model.onnx'] = { content: noise(1000), isLarge: true };
  const result = await fetchTiny();
  expect(result).toMatchObject({ path: target(), license: 'apache-2.0', wasThere: false, revision: 'main' });
  expect(result.transferredBytes).toBe(result.bytes);
  const names = readdirSync(tinyModel).filter((name) => name !== 'expected.json');
  expect(readdirSync(target()).sort()).toEqual(names.sort());
  for (const name of names) {
    expect(stored(name).equals(readFileSync(path.join(tinyModel, name))), name).toBe(true);
  }
  expect((await inspectModel(target())).problems).toEqual([]);
  expect(readdirSync(path.dirname(target()))).toEqual(['tiny']);
});

test('asking again for what is there transfers nothing', async () => {
  await fetchTiny();
  const before = hub.contentRequests(weights).length;
  expect(await fetchTiny()).toMatchObject({ wasThere: true, transferredBytes: 0, path: target() });
  expect(hub.contentRequests(weights)).toHaveLength(before);
});

test('a connection that is cut again and again is resumed where it was, with Range and If-Range', async () => {
  const content = longWeights();
  hub.turns.set(weights, [{ cutAfter: 100_000 }, { cutAfter: 50_000 }, { cutAfter: 200_000 }]);
  const result = await fetchTiny();
  expect(stored().equals(content)).toBe(true);
  const requests = hub.contentRequests(weights);
  expect(requests.map(({ headers }) => headers.range)).toEqual([
    undefined,
    'bytes=100000-',
    'bytes=150000-',
    'bytes=350000-',
  ]);
  const [first, ...later] = requests.map(({ headers }) => headers['if-range']);
  expect(first).toBeUndefined();
  expect(new Set(later).size).toBe(1);
  expect(later[0]).toMatch(/^"[0-9a-f]{32}"$/);
  expect(result.transferredBytes).toBe(result.bytes);
});

test('a server that is gone leaves what was fetched, and the next attempt goes on with it', async () => {
  const content = longWeights();
  hub.turns.set(weights, [{ cutAfter: 150_000 }, ...Array(20).fill({ status: 503 })]);
  const error = await errorOf(fetchTiny());
  expect(error.code).toBe('network-error');
  expect(error.message).toContain('503');
  expect(existsSync(target())).toBe(false);
  hub.turns.clear();
  hub.requests.length = 0;
  const result = await fetchTiny();
  expect(result.transferredBytes).toBe(250_000);
  expect(stored().equals(content)).toBe(true);
  // Nothing is asked of the listing again, and small files are not fetched twice.
  expect(hub.requests.filter(({ path: asked }) => asked.startsWith('/api/'))).toEqual([]);
  expect(hub.contentRequests('config.json')).toEqual([]);
});

test('a file that changed meanwhile is fetched anew from its beginning', async () => {
  const content = longWeights();
  // What the first server sent is not what is listed; If-Range makes the second answer whole.
  hub.turns.set(weights, [{ content: noise(400_000, 'older'), cutAfter: 100_000 }]);
  await fetchTiny();
  expect(stored().equals(content)).toBe(true);
  expect(downloads.messages).toEqual([`lab/tiny: ${weights} has changed on the server; it is fetched anew`]);
});

test('a part that does not belong to the file is found by its hash and fetched anew', async () => {
  const content = longWeights();
  // Without a validator the server continues whatever there was.
  hub.turns.set(weights, [
    { content: noise(400_000, 'older'), cutAfter: 100_000, etag: null },
    { etag: null },
    { etag: null },
  ]);
  await fetchTiny();
  expect(stored().equals(content)).toBe(true);
  expect(downloads.messages).toEqual([
    `lab/tiny: ${weights}: the resumed file is not what the server lists; it is fetched anew`,
  ]);
});

test('a server that ignores Range sends the file anew', async () => {
  const content = longWeights();
  hub.turns.set(weights, [{ cutAfter: 100_000 }, { ignoresRange: true }]);
  await fetchTiny();
  expect(stored().equals(content)).toBe(true);
  expect(downloads.messages).toEqual([
    `lab/tiny: ${weights}: the server cannot resume; the file is fetched anew`,
  ]);
});

test('a server that ignores Range and always cuts is given up, not asked for ever', async () => {
  longWeights();
  hub.turns.set(weights, { ignoresRange: true, cutAfter: 100_000 });
  expect((await errorOf(fetchTiny())).code).toBe('network-error');
  expect(hub.contentRequests(weights).length).toBeLessThan(10);
});

test('a server that continues at another place is not believed', async () => {
  const content = longWeights();
  hub.turns.set(weights, [{ cutAfter: 100_000 }, { shiftsRangeBy: 7 }]);
  await fetchTiny();
  expect(stored().equals(content)).toBe(true);
});

test('wrong bytes are found by the SHA-256, and nothing of them stays', async () => {
  const content = longWeights();
  const wrong = Buffer.from(content);
  wrong[123_456]! ^= 1;
  hub.turns.set(weights, { content: wrong });
  const error = await errorOf(fetchTiny());
  expect(error.code).toBe('damaged-download');
  expect(error.message).toContain('SHA-256');
  expect(existsSync(target())).toBe(false);
  expect(existsSync(path.join(`${target()}.download`, `${weights}.part`))).toBe(false);
  hub.turns.clear();
  await fetchTiny();
  expect(stored().equals(content)).toBe(true);
});

test("wrong bytes of a small file are found by git's SHA-1", async () => {
  const config = hub.repositories.get('lab/tiny')!.files['tokenizer_config.json']!;
  hub.turns.set('tokenizer_config.json', {
    content: Buffer.from(config.content.toString().replace('{', '[')),
  });
  const error = await errorOf(fetchTiny());
  expect(error.code).toBe('damaged-download');
  expect(error.message).toContain('tokenizer_config.json');
});

test.each([
  ['announces another length than it lists', { announcedLength: 500_000 }],
  ['sends more than it lists', { content: noise(450_000), announcedLength: null }],
])('a server that %s is refused', async (_, turn) => {
  longWeights();
  hub.turns.set(weights, turn);
  const error = await errorOf(fetchTiny());
  expect(error.code).toBe('damaged-download');
  expect(error.message).toMatch(/lists?/);
});

test('a connection on which nothing comes any more is left', async () => {
  const content = longWeights();
  hub.turns.set(weights, [{ stallAfter: 100_000 }]);
  await fetchTiny();
  expect(stored().equals(content)).toBe(true);
});

describe('what a status means', () => {
  test('404 of a repository', async () => {
    hub.repositories.get('lab/tiny')!.token = 'hf_secret';
    const error = await errorOf(downloads.fetch(hub.endpoint, { name: 'lab/tiny' }));
    expect(error.code).toBe('access-denied');
    expect(error.message).toContain('without an access token');
  });

  test('a revision that is not there', async () => {
    const error = await errorOf(downloads.fetch(hub.endpoint, { name: 'lab/tiny', revision: 'v9' }));
    expect(error.code).toBe('not-found');
    expect(error.message).toContain('lab/tiny at v9');
  });

  test('a gated model asks for its licence', async () => {
    hub.repositories.get('lab/tiny')!.gated = 'auto';
    const error = await errorOf(fetchTiny());
    expect(error.code).toBe('access-denied');
    expect(error.message).toContain('accept its licence');
  });

  test('a gated model comes with a token', async () => {
    Object.assign(hub.repositories.get('lab/tiny')!, { gated: 'manual', token: 'hf_secret' });
    await fetchTiny({ token: 'hf_secret' });
    expect(existsSync(target())).toBe(true);
  });

  test('403 of the file server, whose signed address ran out, is asked for again', async () => {
    longWeights();
    hub.turns.set(weights, [{ cutAfter: 1000 }, { status: 403 }]);
    await fetchTiny();
    expect(existsSync(target())).toBe(true);
  });

  test('429 waits as long as the server asks', async () => {
    hub.apiTurns.push({ part: '/revision/', status: 429, headers: { 'retry-after': '1' } });
    const startedAt = performance.now();
    await fetchTiny();
    expect(performance.now() - startedAt).toBeGreaterThan(990);
  });

  test('429 with a wait of an hour is told at once', async () => {
    hub.apiTurns.push({ part: '/revision/', status: 429, headers: { 'retry-after': '3600' } });
    const error = await errorOf(fetchTiny());
    expect(error).toMatchObject({ code: 'network-error' });
    expect(error.message).toContain('too many requests');
  });

  test('5xx is tried again', async () => {
    hub.apiTurns.push({ part: '/revision/', status: 500 }, { part: '/tree/', status: 502 });
    hub.turns.set('config.json', [{ status: 500 }, { status: 503 }]);
    await fetchTiny();
    expect(existsSync(target())).toBe(true);
  });

  test('a server that is not there', async () => {
    const { endpoint } = hub;
    await hub.stop();
    const error = await errorOf(downloads.fetch(endpoint, { name: 'lab/tiny' }));
    expect(error.code).toBe('network-error');
    expect(error.message).toContain('refuses connections');
    hub = await FakeHub.start();
  });
});

describe('redirects', () => {
  test('never carry the token to another server', async () => {
    Object.assign(hub.repositories.get('lab/tiny')!, { token: 'hf_secret' });
    await fetchTiny({ token: 'hf_secret' });
    const onHub = hub.requests.filter(({ server }) => server === 'hub');
    const onFiles = hub.requests.filter(({ server }) => server === 'files');
    expect(onHub.every(({ headers }) => headers.authorization === 'Bearer hf_secret')).toBe(true);
    expect(onFiles.length).toBeGreaterThan(0);
    expect(onFiles.some(({ headers }) => headers.authorization !== undefined)).toBe(false);
  });

  test.each([
    ['plain http elsewhere', 'http://files.example/x'],
    ['another scheme', 'file:///etc/passwd'],
    ['an address with a password', 'https://a:b@files.example/x'],
    ['no address', 'https://'],
  ])('to %s are not followed', async (_, location) => {
    hub.turns.set('config.json', { location });
    const error = await errorOf(fetchTiny());
    expect(error.code).toBe('network-error');
    expect(error.message).toContain('only https');
    expect(error.message).not.toContain('a:b@');
  });

  test('in a circle end', async () => {
    hub.turns.set('config.json', { location: `${hub.endpoint}/lab/tiny/resolve/x/config.json` });
    expect((await errorOf(fetchTiny())).message).toContain('redirects');
  });
});

test('pausing, then stopping, leaves a download that goes on later', async () => {
  const content = longWeights();
  hub.bytesPerSecond = 400_000;
  let seen = 0;
  const border = async () => {
    if (seen > 120_000) throw new DBellError('stopped', 'stopped');
  };
  const error = await errorOf(
    fetchTiny({
      border,
      onBytes(done: number) {
        seen = done;
      },
    }),
  );
  expect(error.code).toBe('stopped');
  hub.bytesPerSecond = 0;
  const result = await fetchTiny();
  expect(result.transferredBytes).toBeLessThan(400_000 - 100_000);
  expect(stored().equals(content)).toBe(true);
});

test('a full disk is told as such, and what is there is kept', async () => {
  const content = longWeights();
  setFileFault(({ kind, path: file, totalBytes }) => {
    if (kind === 'write' && file.includes(weights) && totalBytes > 200_000) {
      throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
    }
  });
  expect((await errorOf(fetchTiny())).code).toBe('disk-full');
  setFileFault(null);
  const result = await fetchTiny();
  expect(result.transferredBytes).toBeLessThan(400_000);
  expect(stored().equals(content)).toBe(true);
});

test('a model that would not fit is refused before a byte of it comes', async () => {
  longWeights();
  hub.repositories.get('lab/tiny')!.lies = { [weights]: { size: 2 ** 50 } };
  const error = await errorOf(fetchTiny());
  expect(error.code).toBe('disk-full');
  expect(error.message).toContain('1,126 TB');
  expect(hub.contentRequests(weights)).toEqual([]);
});

test('a second writer of the same model is told', async () => {
  await errorOf(fetchTiny({ border: async () => Promise.reject(new DBellError('stopped', 'stopped')) }));
  mkdirSync(`${target()}.download`, { recursive: true });
  const lock = await lockFolder(`${target()}.download`);
  const error = await errorOf(fetchTiny());
  expect(error.code).toBe('output-exists');
  expect(error.message).toContain('wait for it, or stop it');
  lock.release();
  await fetchTiny();
});

test('a model that is called like the work folder of another one is refused', async () => {
  hub.repositories.set('lab/tiny.download', hub.repositories.get('lab/tiny')!);
  const error = await errorOf(downloads.fetch(hub.endpoint, { name: 'lab/tiny.download' }));
  expect(error.code).toBe('invalid-input');
});

test('a folder of the same name that is something else is left alone', async () => {
  mkdirSync(target(), { recursive: true });
  writeFileSync(path.join(target(), 'mine.txt'), 'mine');
  const result = await fetchTiny();
  expect(result.path).toBe(`${target()}@${commitOf(tinyModel).slice(0, 8)}`);
  expect(readdirSync(target())).toEqual(['mine.txt']);
});

test('what main has become by now does not replace what is there', async () => {
  const first = await fetchTiny();
  const repository = hub.repositories.get('lab/tiny')!;
  repository.commit = commitOf('newer');
  longWeights();
  const second = await fetchTiny();
  expect(second.path).toBe(`${first.path}@${commitOf('newer').slice(0, 8)}`);
  expect(await fetchTiny()).toMatchObject({ wasThere: true, path: second.path });
});

test('an unfinished download keeps to its commit', async () => {
  const content = longWeights();
  hub.turns.set(weights, [{ cutAfter: 1000 }, ...Array(20).fill({ status: 503 })]);
  await errorOf(fetchTiny());
  hub.turns.clear();
  const repository = hub.repositories.get('lab/tiny')!;
  const { commit } = repository;
  repository.commit = commitOf('newer');
  expect(await fetchTiny()).toMatchObject({ commit });
  expect(stored().equals(content)).toBe(true);
});

test.each([
  ['lab/tiny', undefined],
  ['lab/one', 'one.gguf'],
])('a process that ended between the last rename and saying so leaves %s complete', async (name, file) => {
  hub.repositories.set('lab/one', {
    files: { 'one.gguf': { content: noise(5000), isLarge: true } },
    commit: commitOf('one'),
  });
  const { path: at } = await downloads.fetch(hub.endpoint, { name, file });
  const database = new SqliteDatabase(downloads.storeFile);
  database.exec(`UPDATE downloads SET state = 'unfinished'`);
  database.close();
  if (file) mkdirSync(`${at}.download`);
  else writeFileSync(path.join(at, 'lock'), '');
  const store = new DownloadStore(downloads.storeFile);
  expect(unfinishedDownloads(store)).toEqual([]);
  store.close();
  expect(await downloads.fetch(hub.endpoint, { name, file })).toMatchObject({ wasThere: true, path: at });
  expect(existsSync(`${at}.download`) || existsSync(path.join(at, 'lock'))).toBe(false);
});

test('a lost or damaged list of downloads costs at most what was half fetched', async () => {
  const content = longWeights();
  hub.turns.set(weights, [{ cutAfter: 100_000 }, ...Array(20).fill({ status: 503 })]);
  await errorOf(fetchTiny());
  hub.turns.clear();
  for (const suffix of ['', '-wal', '-shm']) {
    if (existsSync(downloads.storeFile + suffix)) writeFileSync(downloads.storeFile + suffix, noise(5000));
  }
  await fetchTiny();
  expect(stored().equals(content)).toBe(true);
  expect(existsSync(`${downloads.storeFile}.damaged-1`)).toBe(true);
});

test('shards are those that the index names', async () => {
  const repository = hub.repositories.get('lab/tiny')!;
  delete repository.files[weights];
  const shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
  for (const name of [...shards, 'model-00001-of-00003.safetensors']) {
    repository.files[name] = { content: noise(5000, name), isLarge: true };
  }
  const index = { weight_map: { a: shards[0], b: shards[1] } };
  repository.files['model.safetensors.index.json'] = {
    content: Buffer.from(JSON.stringify(index)),
    isLarge: false,
  };
  hub.pageSize = 3;
  const { files } = await fetchTiny();
  const names = files.map(({ name }) => name);
  expect(names).toEqual(expect.arrayContaining([...shards, 'model.safetensors.index.json', 'config.json']));
  expect(names).not.toContain('model-00001-of-00003.safetensors');
});

test.each([
  ['../../../evil.safetensors'],
  ['/etc/evil.safetensors'],
  ['a/b.safetensors'],
  ['a\\b.safetensors'],
  ['missing.safetensors'],
  [42],
])('an index that names %j is refused', async (name) => {
  const repository = hub.repositories.get('lab/tiny')!;
  delete repository.files[weights];
  const index = { weight_map: { a: name } };
  repository.files['model.safetensors.index.json'] = {
    content: Buffer.from(JSON.stringify(index)),
    isLarge: false,
  };
  const error = await errorOf(fetchTiny());
  expect(error.code).toBe('unsupported-model');
  expect(error.message).toContain('names');
});

test('pickled weights are never fetched', async () => {
  const repository = hub.repositories.get('lab/tiny')!;
  delete repository.files[weights];
  repository.files['pytorch_model.bin'] = { content: noise(1000), isLarge: true };
  const error = await errorOf(fetchTiny());
  expect(error.message).toContain('pickled');
  expect(hub.contentRequests('pytorch_model.bin')).toEqual([]);
});

test('a family that is not read is refused before its weights', async () => {
  const repository = hub.repositories.get('lab/tiny')!;
  repository.files['config.json'] = { content: Buffer.from('{"model_type":"mamba"}'), isLarge: false };
  const error = await errorOf(fetchTiny());
  expect(error.code).toBe('unsupported-model');
  expect(error.message).toContain('mamba');
  expect(hub.contentRequests(weights)).toEqual([]);
});

describe('GGUF', () => {
  const gguf = readFileSync(
    path.join(import.meta.dirname, '..', 'fixtures', 'model', 'gguf', 'llama-untied.gguf'),
  );
  beforeEach(() => {
    hub.repositories.set('lab/tiny-GGUF', {
      commit: commitOf('gguf'),
      files: {
        'tiny-f16.gguf': { content: gguf, isLarge: true },
        'Q8/tiny-q8.gguf': { content: Buffer.concat([gguf, noise(10)]), isLarge: true },
        'tiny-00001-of-00002.gguf': { content: gguf, isLarge: true },
        'mmproj-tiny-f16.gguf': { content: gguf, isLarge: true },
      },
    });
  });
  const fetchGguf = (file?: string) => downloads.fetch(hub.endpoint, { name: 'lab/tiny-GGUF', file });

  test('one file of several has to be chosen', async () => {
    const error = await errorOf(fetchGguf());
    expect(error.code).toBe('invalid-input');
    expect(error.message).toContain('tiny-f16.gguf, Q8/tiny-q8.gguf');
    expect(error.message).not.toMatch(/mmproj|00001/);
  });

  test('the chosen one is fetched alone, and a second one beside it', async () => {
    const first = await fetchGguf('tiny-f16.gguf');
    expect(first.path).toBe(path.join(downloads.folder, 'lab', 'tiny-GGUF', 'tiny-f16.gguf'));
    expect(readFileSync(first.path).equals(gguf)).toBe(true);
    expect((await inspectModel(first.path)).architecture?.family).toBe('llama');
    const second = await fetchGguf('Q8/tiny-q8.gguf');
    expect(second.path).toBe(path.join(path.dirname(first.path), 'Q8', 'tiny-q8.gguf'));
    expect(readdirSync(path.dirname(first.path)).sort()).toEqual(['Q8', 'tiny-f16.gguf']);
  });

  test('files of several folders that are called the same do not stand for each other', async () => {
    const { files } = hub.repositories.get('lab/tiny-GGUF')!;
    const other = Buffer.concat([gguf, noise(10, 'another')]);
    files['Q4/tiny-q8.gguf'] = { content: other, isLarge: true };
    files['Q4\u001b[2J/tiny.gguf'] = { content: gguf, isLarge: true };
    const first = await fetchGguf('Q8/tiny-q8.gguf');
    const second = await fetchGguf('Q4/tiny-q8.gguf');
    expect(second.wasThere).toBe(false);
    expect(readFileSync(second.path).equals(other)).toBe(true);
    expect(readFileSync(first.path).equals(other)).toBe(false);
    expect((await fetchGguf('Q4/tiny-q8.gguf')).wasThere).toBe(true);
    expect((await errorOf(fetchGguf('Q4\u001b[2J/tiny.gguf'))).code).toBe('not-found');
  });

  test('one that is not there', async () => {
    expect((await errorOf(fetchGguf('../x.gguf'))).code).toBe('not-found');
  });

  test('its architecture is told before the download', async () => {
    const other = Buffer.from(gguf);
    const at = other.indexOf('llama');
    other.write('mamba', at);
    const files = hub.repositories.get('lab/tiny-GGUF')!.files;
    for (const name of Object.keys(files)) files[name] = { content: other, isLarge: true };
    const error = await errorOf(fetchGguf('tiny-f16.gguf'));
    expect(error.code).toBe('unsupported-model');
    expect(error.message).toContain('mamba');
  });
});

test('discarding an unfinished download deletes what it had', async () => {
  longWeights();
  hub.turns.set(weights, [{ cutAfter: 1000 }, ...Array(20).fill({ status: 503 })]);
  await errorOf(fetchTiny());
  const store = new DownloadStore(downloads.storeFile);
  expect(store.unfinished().map(({ path: at }) => at)).toEqual([target()]);
  await discardDownload(store, target());
  expect(store.unfinished()).toEqual([]);
  expect(existsSync(`${target()}.download`)).toBe(false);
  expect((await errorOf(discardDownload(store, target()))).code).toBe('not-found');
  store.close();
});
