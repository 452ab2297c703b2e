import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ServiceEvent } from '../../engine/contract/events.ts';
import { serviceLimits } from '../../engine/service/limits.ts';
import { RestartPolicy } from '../../engine/service/restart-policy.ts';
import { type SupervisedWebService, superviseWebService } from '../../engine/service/web-server/supervise.ts';
import { type Opened, openClient, writePage } from './web-support.ts';

/** Browser mode as `npm start` runs it: a supervised service process, real windows over real sockets. */

let folder: string;
let studio: SupervisedWebService;
const restarts: string[] = [];

beforeEach(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-supervise-'));
  const pageFolder = path.join(folder, 'page');
  writePage(pageFolder);
  studio = await superviseWebService({
    home: path.join(folder, 'home'),
    pageFolder,
    onRestart: (reason) => restarts.push(reason),
  });
});
afterEach(async () => {
  await studio.close();
  rmSync(folder, { recursive: true });
});

const tokenOf = (address: string) => new URL(address).hash.slice('#token='.length);

async function openWindow(session?: string): Promise<Opened> {
  if (session !== undefined) return openClient(studio, { session });
  return openClient(studio, { token: tokenOf(await studio.createAddress()) });
}

/** Resolves with the first event that is wanted. */
function nextEvent<E>(window: Opened, wanted: (event: ServiceEvent) => E | undefined): Promise<E> {
  return new Promise((resolve) => {
    const stop = window.client.onEvent((event) => {
      const found = wanted(event);
      if (found === undefined) return;
      queueMicrotask(() => stop());
      resolve(found);
    });
  });
}

const longRun = {
  model: path.join(import.meta.dirname, '..', 'fixtures', 'model', 'tiny', 'llama-plain'),
  recipe: 'dbellquant',
  calibration: { bundled: 'stories' },
  windows: 256,
  context: 32,
};

test('two windows see the same job, and one that comes later sees what it told', async () => {
  const first = await openWindow();
  const second = await openWindow(first.session);
  const seenBySecond = nextEvent(second, (event) => (event.type === 'job-layer' ? event : undefined));
  const { jobId } = await first.client.call('quantize', { ...longRun, out: path.join(folder, 'out') });
  const paused = nextEvent(first, (event) =>
    event.type === 'job-state' && event.job.state === 'paused' ? event : undefined,
  );
  const layer = await seenBySecond;
  expect(layer.jobId).toBe(jobId);
  // What one window does, all are told.
  await second.client.call('jobs.pause', { jobId });
  expect((await paused).job.jobId).toBe(jobId);

  const third = await openWindow(first.session);
  const [fromFirst, fromThird] = await Promise.all([
    first.client.call('jobs.list', {}),
    third.client.call('jobs.list', {}),
  ]);
  expect(fromThird).toEqual(fromFirst);
  expect(fromThird.jobs.map((job) => [job.jobId, job.state])).toEqual([[jobId, 'paused']]);
  const told = await third.client.call('jobs.details', { jobId });
  expect(told.layers).toContainEqual({ blockIndex: layer.blockIndex, layer: layer.layer });
  await second.client.call('jobs.stop', { jobId });
  expect((await first.client.call('jobs.wait', { jobId })).job.state).toBe('stopped');
}, 120_000);

test('a service process that is killed in mid-run comes back at the same address and takes the run up, paused as it was', async () => {
  restarts.length = 0;
  const before = await openWindow();
  const out = path.join(folder, 'out');
  const begun = nextEvent(before, (event) => (event.type === 'job-layer' ? event : undefined));
  const { jobId, runId } = await before.client.call('quantize', { ...longRun, out });
  await begun;
  // A paused run cannot be over before the process is killed.
  await before.client.call('jobs.pause', { jobId });
  const lost = new Promise((resolve) => before.socket.once('close', resolve));
  const killed = studio.pid()!;
  process.kill(killed, 'SIGKILL');
  await lost;

  const after = await reopen(before.session);
  expect(studio.pid()).not.toBe(killed);
  expect(restarts).toEqual(['SIGKILL']);
  await expect
    .poll(async () => (await after.client.call('jobs.list', {})).jobs, { timeout: 30_000 })
    .toMatchObject([{ kind: 'quantize', runId, state: 'paused', hold: null }]);
  const { jobs } = await after.client.call('jobs.list', {});
  const again = { jobId: jobs[0]!.jobId };
  expect((await after.client.call('jobs.details', again)).messages).toContainEqual({
    level: 'info',
    message: 'it was paused when the engine ended unexpectedly, and is paused again; continue it to go on',
  });
  await after.client.call('jobs.continue', again);
  const { job } = await after.client.call('jobs.wait', again);
  expect(job).toMatchObject({ state: 'finished', result: { package: out, runId, resumedTimes: 1 } });
}, 240_000);

/** As the page does: tries until the service is back and has taken up its run. */
async function reopen(session: string): Promise<Opened> {
  const deadline = performance.now() + 60_000;
  for (;;) {
    try {
      const window = await openWindow(session);
      if ((await window.client.call('jobs.list', {})).jobs.length > 0) return window;
      window.socket.terminate();
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

test('restarts come at once, then slower, and end where a process keeps dying', () => {
  let now = 0;
  const policy = new RestartPolicy(() => now);
  const waits = Array.from({ length: serviceLimits.restarts }, () => policy.next());
  expect(waits).toEqual([0, 500, 1000, 2000, 4000]);
  expect(policy.next()).toBeNull();
  now += serviceLimits.restartWindowMs + 1;
  expect(policy.next()).toBe(0);
});

test('a page folder without a page is said before anything is served', async () => {
  await expect(
    superviseWebService({ home: path.join(folder, 'home2'), pageFolder: path.join(folder, 'nothing') }),
  ).rejects.toMatchObject({ code: 'not-found', message: expect.stringContaining('npm run build:renderer') });
});

test('a port that is taken is said', async () => {
  const port = Number(new URL(studio.origin).port);
  await expect(
    superviseWebService({ home: path.join(folder, 'home3'), pageFolder: path.join(folder, 'page'), port }),
  ).rejects.toMatchObject({ message: expect.stringContaining(String(port)) });
});
