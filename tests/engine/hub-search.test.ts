import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { endpointProblem } from '../../engine/contract/endpoint.ts';
import { DBellError } from '../../engine/contract/errors.ts';
import { repositoryNameSchema, revisionSchema } from '../../engine/contract/hub.ts';
import { connectionTo, type HubConnection } from '../../engine/hub/connection.ts';
import { describeRepository, searchModels } from '../../engine/hub/repository.ts';
import { targetOf } from '../../engine/hub/target.ts';
import { glanceAtGgufArchitecture } from '../../engine/model/gguf/glance.ts';
import { commitOf, FakeHub } from './hub-server.ts';
import { noise, repositoryOf, shortTimes, tinyModel } from './hub-support.ts';

let hub: FakeHub;
let connection: HubConnection;
beforeEach(async () => {
  hub = await FakeHub.start();
  connection = connectionTo(hub.endpoint, null, new AbortController().signal, shortTimes);
  hub.repositories.set('lab/tiny', repositoryOf(tinyModel));
});
afterEach(() => hub.stop());

const errorOf = (work: Promise<unknown>) =>
  work.then(
    () => null,
    (error: unknown) => error as DBellError,
  );

test('a search says licence, size, family and what is gated', async () => {
  Object.assign(hub.repositories.get('lab/tiny')!, {
    safetensors: { parameters: { BF16: 1000, F32: 10 }, total: 1010 },
    gated: 'manual',
  });
  hub.repositories.set('lab/tiny-mamba', {
    files: {},
    commit: commitOf('x'),
    modelType: 'mamba',
    tags: ['gguf'],
  });
  hub.repositories.set('lab/other', { files: {}, commit: commitOf('y') });
  expect(await searchModels(connection, 'tiny', 10)).toEqual([
    expect.objectContaining({
      name: 'lab/tiny',
      license: 'apache-2.0',
      gated: 'manual',
      parameters: 1010,
      weightBytes: 2040,
      supported: true,
      hasGguf: false,
      updatedAt: '2026-01-02T03:04:05.000Z',
    }),
    expect.objectContaining({
      name: 'lab/tiny-mamba',
      license: null,
      weightBytes: null,
      supported: false,
      hasGguf: true,
    }),
  ]);
});

test.each([
  ['no JSON', 'hello'],
  ['something else', '{"error":"no"}'],
  ['entries of another kind', '[1, null, {"id": {}}]'],
  ['deep nesting', '['.repeat(100_000)],
])('a server that answers a search with %s is no Hub, or finds nothing', async (_, body) => {
  hub.apiTurns.push({ part: 'search=', status: 200, headers: { 'content-type': 'application/json' }, body });
  const error = await errorOf(searchModels(connection, 'tiny', 10));
  expect(error).toBeInstanceOf(DBellError);
  expect(error?.code).toBe('network-error');
});

test('fields that are not as they should be count as not said', async () => {
  const body = JSON.stringify([
    {
      id: 'lab/odd',
      gated: 'sometimes',
      downloads: -1,
      likes: 'many',
      lastModified: 'never',
      tags: 'x',
      safetensors: { parameters: { F32: 'y' } },
      config: [],
    },
    { id: '../../etc/passwd', gated: false, downloads: 1, likes: 1, lastModified: '2026-01-01' },
  ]);
  hub.apiTurns.push({ part: 'search=', status: 200, headers: { 'content-type': 'application/json' }, body });
  expect(await searchModels(connection, 'tiny', 10)).toEqual([
    {
      name: 'lab/odd',
      license: null,
      gated: 'no',
      downloads: 0,
      likes: 0,
      updatedAt: null,
      parameters: null,
      modelType: null,
      weightBytes: null,
      supported: null,
      hasGguf: false,
    },
  ]);
});

test('an endless answer is cut off', async () => {
  hub.apiTurns.push({ part: 'search=', status: 200, body: `[${' '.repeat(33 * 2 ** 20)}]` });
  const error = await errorOf(searchModels(connection, 'tiny', 10));
  expect(error?.message).toContain('more than 33554432 bytes');
});

test('a listing that goes on at another server is not followed', async () => {
  hub.apiTurns.push({
    part: '/tree/',
    status: 200,
    headers: { link: `<${hub.filesOrigin}/api/next>; rel="next"`, 'content-type': 'application/json' },
    body: '[]',
  });
  const error = await errorOf(describeRepository(connection, 'lab/tiny', 'main'));
  expect(error?.message).toContain('another server');
  expect(hub.requests.filter(({ server }) => server === 'files')).toEqual([]);
});

test.each([
  ['a size that is none', { size: -1 }],
  ['a hash that is none', { hash: 'x' }],
])('a listing with %s is refused', async (_, lie) => {
  hub.repositories.get('lab/tiny')!.lies = { 'model.safetensors': lie };
  const error = await errorOf(describeRepository(connection, 'lab/tiny', 'main'));
  expect(error?.code).toBe('network-error');
});

test('files whose paths lead elsewhere are as if they were not there', async () => {
  const repository = hub.repositories.get('lab/tiny')!;
  for (const name of ['../evil.gguf', 'a/../evil.gguf', '/evil.gguf', 'a//evil.gguf', 'evil\u0000.gguf']) {
    repository.files[name] = { content: noise(10), isLarge: false };
  }
  const { description } = await describeRepository(connection, 'lab/tiny', 'main');
  expect(description.choices.map(({ format }) => format)).toEqual(['huggingface']);
});

test('a repository is described without fetching weights', async () => {
  const { description } = await describeRepository(connection, 'lab/tiny', 'main');
  expect(description).toMatchObject({
    name: 'lab/tiny',
    license: 'apache-2.0',
    supported: true,
    modelType: 'llama',
    problems: [],
    commit: commitOf(tinyModel),
  });
  expect(description.choices).toHaveLength(1);
  expect(hub.contentRequests('model.safetensors')).toEqual([]);
});

test('texts of a server cannot command a terminal or turn their direction', async () => {
  const repository = hub.repositories.get('lab/tiny')!;
  repository.license = '\u001b[31mmit\u202e\u009b2J\nfree';
  const { description } = await describeRepository(connection, 'lab/tiny', 'main');
  expect(description.license).toBe('[31mmit 2J free');
});

test('a gated repository is described as far as it shows', async () => {
  hub.repositories.get('lab/tiny')!.gated = 'auto';
  const { description } = await describeRepository(connection, 'lab/tiny', 'main');
  expect(description).toMatchObject({ gated: 'auto', license: 'apache-2.0', supported: null });
  expect(description.problems).toEqual([expect.objectContaining({ code: 'gated', severity: 'error' })]);
});

test('a config.json that is damaged is told before the weights', async () => {
  hub.repositories.get('lab/tiny')!.files['config.json'] = {
    content: Buffer.from('{"a":1,"a":2}'),
    isLarge: false,
  };
  const error = await errorOf(describeRepository(connection, 'lab/tiny', 'main'));
  expect(error?.code).toBe('invalid-model');
  expect(error?.message).toContain('twice');
});

test("a GGUF's architecture is in its first bytes", () => {
  const file = readFileSync(path.join(import.meta.dirname, '..', 'fixtures', 'model', 'gguf', 'qwen2.gguf'));
  expect(glanceAtGgufArchitecture(file.subarray(0, 4096))).toBe('qwen2');
  expect(glanceAtGgufArchitecture(file.subarray(0, 30))).toBeNull();
  expect(glanceAtGgufArchitecture(Buffer.alloc(0))).toBeNull();
  expect(glanceAtGgufArchitecture(noise(4096))).toBeNull();
});

describe('names', () => {
  test.each(['gpt2', 'HuggingFaceTB/SmolLM2-135M', 'a/b.c_d-e'])('%s is a repository', (name) => {
    expect(repositoryNameSchema.safeParse(name).success).toBe(true);
  });
  test.each([
    '',
    '/',
    'a/',
    '/a',
    'a/b/c',
    '../a',
    'a/..',
    'a/.b',
    'a b',
    'a/b?x',
    'a/b#x',
    'a\\b',
    'a/b\n',
    '-a/b',
  ])('%j is none', (name) => {
    expect(repositoryNameSchema.safeParse(name).success).toBe(false);
  });
  test.each(['../x', 'a/../b', '', '-x', 'a b', 'a?b'])('%j is no revision', (revision) => {
    expect(revisionSchema.safeParse(revision).success).toBe(false);
  });
  test.each(['con/model', 'lab/aux.x', 'lab/name.'])('%s is no name for a folder', (name) => {
    expect(() => targetOf('/models', { name, revision: 'main', file: null }, commitOf('x'))).toThrow(
      DBellError,
    );
  });
});

describe('endpoints', () => {
  test.each([
    'https://huggingface.co',
    'https://mirror.example/hf',
    'http://127.0.0.1:8080',
    'http://localhost:1',
    'http://[::1]:1',
  ])('%s may be one', (endpoint) => expect(endpointProblem(endpoint)).toBeNull());
  test.each([
    'http://mirror.example',
    'http://127.0.0.1.evil.example',
    'http://localhost.evil.example',
    'http://10.0.0.1',
    'ftp://127.0.0.1',
    'https://user:password@mirror.example',
    'https://mirror.example?x=1',
    'mirror.example',
    '',
  ])('%j may not', (endpoint) => expect(endpointProblem(endpoint)).not.toBeNull());
  test('a token that is none is refused without being shown', () => {
    const { signal } = new AbortController();
    expect(() => connectionTo(hub.endpoint, 'hf_secret\nx: y', signal)).toThrow(/blanks/);
    expect(() => connectionTo(hub.endpoint, 'hf_secret\nx: y', signal)).not.toThrow(/hf_secret/);
  });
});
