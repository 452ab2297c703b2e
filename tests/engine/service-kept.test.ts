import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createClient } from '../../engine/contract/client.ts';
import type { GenerationResult } from '../../engine/contract/generation.ts';
import { childProcessHost, type ProcessHost, type WorkProcess } from '../../engine/service/process-host.ts';
import { createService, type Service } from '../../engine/service/service.ts';
import { bundled } from '../assets.ts';

/** The real host, which remembers what it started. */
let started: WorkProcess[];
let ended: Set<number>;
let service: Service;
let home: string;
const host: ProcessHost = {
  start() {
    const process = childProcessHost.start();
    started.push(process);
    process.onEnd(() => ended.add(process.pid!));
    return process;
  },
};

beforeEach(() => {
  started = [];
  ended = new Set();
  home = mkdtempSync(path.join(os.tmpdir(), 'dbell-kept-'));
  service = createService({ home, processHost: host });
});
afterEach(async () => {
  await service.close();
  rmSync(home, { recursive: true });
});

const client = () =>
  createClient({
    request: (request) => service.handle(request),
    onEvent: (listener) => service.onEvent(listener),
  });

async function answer(content: string, options: { keepLoaded?: boolean; threads?: number } = {}) {
  const { jobId } = await client().call('chat', {
    ...{ model: bundled.model, maximumTokens: 4, sampling: { kind: 'greedy' } },
    messages: [{ role: 'user', content }],
    keepLoaded: true,
    ...options,
  });
  const { job } = await client().call('jobs.wait', { jobId });
  if (job.error !== null) throw new Error(job.error.message);
  return job.result as GenerationResult;
}

test('a conversation loads its model once; its answers are those of models loaded anew', async () => {
  const kept = [await answer('One day'), await answer('A fox'), await answer('One day')];
  expect(started).toHaveLength(1);
  expect(kept.map(({ loadMs }) => loadMs > 0)).toEqual([true, false, false]);
  expect(kept[2]!.tokenIds).toEqual(kept[0]!.tokenIds);
  const fresh = await answer('A fox', { keepLoaded: false });
  expect(fresh.tokenIds).toEqual(kept[1]!.tokenIds);
});

test('what needs another process ends the kept one first', async () => {
  await answer('One day');
  await answer('One day', { threads: 1 });
  expect(started).toHaveLength(2);
  expect(ended).toContain(started[0]!.pid);
  const { jobId } = await client().call('verify', { package: home });
  await client().call('jobs.wait', { jobId });
  expect(ended).toContain(started[1]!.pid);
});

test('a kept process that was killed is replaced', async () => {
  await answer('One day');
  const gone = new Promise<void>((resolve) => started[0]!.onEnd(() => resolve()));
  started[0]!.kill();
  await gone;
  expect((await answer('One day')).loadMs).toBeGreaterThan(0);
  expect(started).toHaveLength(2);
});

test('without keeping, and after an error, no process is left', async () => {
  await answer('One day', { keepLoaded: false });
  expect(ended).toContain(started[0]!.pid);
  await expect(answer('word '.repeat(2000))).rejects.toThrow('context length is 512');
  expect(ended).toContain(started[1]!.pid);
});

test('closing the service ends what was kept', async () => {
  await answer('One day');
  await service.close();
  expect(ended).toContain(started[0]!.pid);
});
