import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { childProcessHost } from '../../engine/service/process-host.ts';
import { createService } from '../../engine/service/service.ts';

const home = mkdtempSync(path.join(os.tmpdir(), 'dbell-service-'));
const service = createService({ home, processHost: childProcessHost });
afterAll(async () => {
  await service.close();
  rmSync(home, { recursive: true });
});

test.each([
  ['nothing', undefined],
  ['a number', 7],
  ['an array', []],
  ['an object without a call', { id: 1 }],
  ['a request with more in it than belongs there', { id: 1, call: 'recipes', input: {}, extra: 1 }],
  ['an id of another kind', { id: {}, call: 'recipes', input: {} }],
])('%s is answered with an error that has no id', async (_, message) => {
  expect(await service.handle(message)).toMatchObject({ id: null, error: { code: 'invalid-input' } });
});

test('an unknown call is refused by name, inherited names too', async () => {
  for (const call of ['made.up', 'toString', '__proto__', 'constructor']) {
    expect(await service.handle({ id: 'x', call, input: {} })).toEqual({
      id: 'x',
      error: { code: 'invalid-input', message: `there is no call "${call}"` },
    });
  }
});

test('a bad input is refused with the call and the field', async () => {
  expect(await service.handle({ id: 3, call: 'jobs.get', input: { jobId: '../x' } })).toEqual({
    id: 3,
    error: { code: 'invalid-input', message: 'jobs.get: jobId: not an identifier' },
  });
});

test('a job that does not exist is not found', async () => {
  expect(await service.handle({ id: 4, call: 'jobs.stop', input: { jobId: 'none' } })).toMatchObject({
    error: { code: 'not-found' },
  });
});

test('the environment comes from a real work process that loaded the native part', async () => {
  const response = await service.handle({ id: 5, call: 'environment', input: {} });
  expect(response).toMatchObject({ id: 5, output: { native: { problem: null }, home } });
});
