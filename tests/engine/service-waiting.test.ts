import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Client } from '../../engine/contract/client.ts';
import { type SupervisedWebService, superviseWebService } from '../../engine/service/web-server/supervise.ts';
import { type Opened, openClient, writePage } from './web-support.ts';

/** The queue of a studio whose engine dies, or which is closed and opened again: real service processes, real windows. */

const model = path.join(import.meta.dirname, '..', 'fixtures', 'model', 'tiny', 'llama-plain');

let folder: string;
let opened: SupervisedWebService[];

beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-waiting-'));
  writePage(path.join(folder, 'page'));
  opened = [];
});
afterEach(async () => {
  for (const studio of opened) await studio.close();
  rmSync(folder, { recursive: true });
});

const home = () => path.join(folder, 'home');
const inFolder = (name: string) => path.join(folder, name);

async function openStudio(): Promise<{ studio: SupervisedWebService; window: Opened }> {
  const studio = await superviseWebService({ home: home(), pageFolder: path.join(folder, 'page') });
  opened.push(studio);
  const token = new URL(await studio.createAddress()).hash.slice('#token='.length);
  return { studio, window: await openClient(studio, { token }) };
}

/** A run that is being worked on until it is told to go on. */
async function occupy({ client }: Opened): Promise<{ jobId: string; runId: string | null; out: string }> {
  const out = inFolder('running');
  const settings = { calibration: { bundled: 'stories' }, windows: 256, context: 32 };
  const layer = new Promise((resolve) => {
    client.onEvent((event) => {
      if (event.type === 'job-layer') resolve(event);
    });
  });
  const { jobId, runId } = await client.call('quantize', { model, recipe: 'dbellquant', ...settings, out });
  await layer;
  await client.call('jobs.pause', { jobId });
  return { jobId, runId, out };
}

/** A short quantization with settings that are none of the defaults. */
const short = (out: string, of = model) => ({
  ...{ model: of, recipe: 'rtn-4', activationBits: 8 as const, embeddingBits: 8 as const },
  ...{ calibration: { bundled: 'stories' }, windows: 2, context: 32, out, followUp: { verify: true } },
});

/** Kills the engine and waits for its successor, with as many jobs. */
async function killEngine(studio: SupervisedWebService, window: Opened, jobs: number): Promise<Opened> {
  const lost = new Promise((resolve) => window.socket.once('close', resolve));
  process.kill(studio.pid()!, 'SIGKILL');
  await lost;
  return openAgain(studio, window, jobs);
}

/** Continues a run that comes back paused, as it was. */
async function goOn(client: Client, jobId: string): Promise<void> {
  await expect
    .poll(async () => (await client.call('jobs.get', { jobId })).job.state, { timeout: 30_000 })
    .toBe('paused');
  await client.call('jobs.continue', { jobId });
}

/** As a page does: tries until the engine is back, with as many jobs. */
async function openAgain(studio: SupervisedWebService, window: Opened, jobs: number): Promise<Opened> {
  const deadline = performance.now() + 60_000;
  for (;;) {
    try {
      const again = await openClient(studio, { session: window.session });
      if ((await again.client.call('jobs.list', {})).jobs.length >= jobs) return again;
      again.socket.terminate();
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    expect(performance.now()).toBeLessThan(deadline);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

test('an engine that is killed comes back with its queue: the same jobs, in their order, behind the run that it takes up', async () => {
  const { studio, window } = await openStudio();
  const running = await occupy(window);
  const first = await window.client.call('quantize', short(inFolder('first')));
  const second = await window.client.call('perplexity', {
    ...{ model, text: { bundled: 'stories' }, context: 32, windows: 2 },
  });
  const unwanted = await window.client.call('quantize', short(inFolder('unwanted')));
  await window.client.call('jobs.stop', { jobId: unwanted.jobId });
  const before = (await window.client.call('jobs.list', {})).jobs;

  const { client } = await killEngine(studio, window, 3);
  const { jobs } = await client.call('jobs.list', {});
  expect(jobs.map(({ kind }) => kind)).toEqual(['quantize', 'quantize', 'perplexity']);
  expect(jobs[0]).toMatchObject({ runId: running.runId });
  expect(jobs.slice(1).map(({ jobId }) => jobId)).toEqual([first.jobId, second.jobId]);
  for (const job of jobs.slice(1)) {
    const asked = before.find(({ jobId }) => jobId === job.jobId)!;
    expect(job).toMatchObject({ state: 'queued', createdAt: asked.createdAt, tasks: asked.tasks });
    expect(job.subject).toEqual(asked.subject);
  }
  const told = await client.call('jobs.details', { jobId: first.jobId });
  expect(told.messages).toEqual([
    {
      level: 'info',
      message: 'it waited when the engine ended unexpectedly, and was put back into the queue',
    },
  ]);
  expect((await client.call('waiting.list', {})).jobs).toEqual([]);

  await goOn(client, jobs[0]!.jobId);
  const ended = await Promise.all(
    jobs.map(async ({ jobId }) => (await client.call('jobs.wait', { jobId })).job),
  );
  expect(ended.map(({ state }) => state)).toEqual(['finished', 'finished', 'finished']);
  expect(ended[0]!.endedAt! <= ended[1]!.startedAt!).toBe(true);
  expect(ended[1]!.endedAt! <= ended[2]!.startedAt!).toBe(true);
  expect(ended[1]!.result).toMatchObject({
    ...{ package: inFolder('first'), recipe: 'rtn-4', activationBits: 8, embeddingBits: 8 },
    verify: { ok: true },
  });
  expect(existsSync(inFolder('unwanted'))).toBe(false);
}, 240_000);

test('an engine that is killed in the moment in which it takes a run up goes on with it, once', async () => {
  const { studio, window } = await openStudio();
  const { jobId, runId, out } = await occupy(window);
  await window.client.call('jobs.stop', { jobId });
  await window.client.call('jobs.wait', { jobId });
  const lost = new Promise((resolve) => window.socket.once('close', resolve));
  window.client.onEvent((event) => {
    if (event.type === 'job-state' && event.job.state === 'running') process.kill(studio.pid()!, 'SIGKILL');
  });
  window.client.call('resume', { path: out }).catch(() => {});
  await lost;
  const { client } = await openAgain(studio, window, 1);
  const { jobs } = await client.call('jobs.list', {});
  expect(jobs).toMatchObject([{ kind: 'quantize', runId }]);
  expect((await client.call('waiting.list', {})).jobs).toEqual([]);
  expect((await client.call('jobs.wait', { jobId: jobs[0]!.jobId })).job).toMatchObject({
    state: 'finished',
  });
}, 240_000);

test('a studio that is closed finds its queue again, which waits to be started or dismissed', async () => {
  const before = await openStudio();
  const { out } = await occupy(before.window);
  const asked = short(inFolder('first'));
  const first = await before.window.client.call('quantize', asked);
  const second = await before.window.client.call('verify', { package: inFolder('first'), remember: false });
  await before.studio.close();
  expect(existsSync(inFolder('first'))).toBe(false);

  const after = await openStudio();
  const { client } = after.window;
  // The run that was being worked on is where it always was.
  expect((await client.call('runs.unfinished', {})).runs.map((run) => run.path)).toEqual([out]);
  expect((await client.call('jobs.list', {})).jobs).toEqual([]);
  expect((await client.call('waiting.list', {})).jobs).toMatchObject([
    {
      ...{
        jobId: first.jobId,
        kind: 'quantize',
        tasks: ['quantize', 'verify'],
        hadBegun: false,
        problem: null,
      },
      subject: { models: [model], recipe: 'rtn-4', activationBits: 8, output: inFolder('first') },
      request: { model, recipe: 'rtn-4', out: inFolder('first') },
    },
    // What it was to look at is not made yet.
    { jobId: second.jobId, kind: 'verify', hadBegun: false, problem: { code: 'not-found' }, request: null },
  ]);
  await expect(client.call('waiting.start', { jobId: second.jobId })).rejects.toMatchObject({
    code: 'not-found',
    message: expect.stringContaining(`${inFolder('first')} is not there any more`),
  });

  let told = 0;
  client.onEvent((event) => {
    if (event.type === 'waiting-changed') told++;
  });
  const started = await client.call('waiting.start', { jobId: first.jobId });
  expect(started.jobId).toBe(first.jobId);
  expect((await client.call('jobs.wait', { jobId: first.jobId })).job).toMatchObject({
    state: 'finished',
    result: { package: inFolder('first'), activationBits: 8, embeddingBits: 8, verify: { ok: true } },
  });
  expect((await client.call('waiting.list', {})).jobs).toMatchObject([
    { jobId: second.jobId, problem: null },
  ]);
  await client.call('waiting.dismiss', { jobId: second.jobId });
  expect(told).toBe(2);
  for (const call of ['waiting.start', 'waiting.dismiss'] as const)
    await expect(client.call(call, { jobId: second.jobId })).rejects.toMatchObject({ code: 'not-found' });
  await after.studio.close();

  const last = await openStudio();
  expect((await last.window.client.call('waiting.list', {})).jobs).toEqual([]);
}, 240_000);

test('what is in the way of a waiting job is said beside it, and it goes on waiting until that is mended', async () => {
  const { studio, window } = await openStudio();
  await occupy(window);
  const moving = inFolder('moving-model');
  cpSync(model, moving, { recursive: true });
  const taken = await window.client.call('quantize', short(inFolder('taken')));
  const vanished = await window.client.call('quantize', short(inFolder('second'), moving));
  mkdirSync(inFolder('taken'));
  writeFileSync(path.join(inFolder('taken'), 'mine.txt'), 'mine');
  rmSync(moving, { recursive: true });

  // An engine that comes back at once has the same in its way.
  const { client } = await killEngine(studio, window, 1);
  await expect
    .poll(async () => (await client.call('waiting.list', {})).jobs, { timeout: 30_000 })
    .toMatchObject([
      { jobId: taken.jobId, problem: { code: 'output-exists', field: 'output' } },
      { jobId: vanished.jobId, problem: { code: 'not-found', message: expect.stringContaining(moving) } },
    ]);
  const { jobs } = await client.call('jobs.list', {});
  expect(jobs).toHaveLength(1);
  await goOn(client, jobs[0]!.jobId);
  await expect(client.call('waiting.start', { jobId: taken.jobId })).rejects.toMatchObject({
    code: 'output-exists',
  });
  expect(readdirSync(inFolder('taken'))).toEqual(['mine.txt']);

  rmSync(inFolder('taken'), { recursive: true });
  cpSync(model, moving, { recursive: true });
  for (const { jobId } of [taken, vanished]) await client.call('waiting.start', { jobId });
  for (const { jobId } of [taken, vanished])
    expect((await client.call('jobs.wait', { jobId })).job).toMatchObject({ state: 'finished' });
}, 240_000);

test('a measurement that was being made when the studio ended is offered again, and not begun by itself', async () => {
  const { studio, window } = await openStudio();
  const text = inFolder('text.txt');
  writeFileSync(text, 'Once upon a time there was a dog. '.repeat(4000));
  const { jobId } = await window.client.call('perplexity', { model, text: { path: text }, context: 32 });
  await expect
    .poll(async () => (await window.client.call('jobs.get', { jobId })).job.state, { timeout: 30_000 })
    .toBe('running');
  await window.client.call('jobs.pause', { jobId });
  const { client } = await killEngine(studio, window, 0);
  await expect
    .poll(async () => (await client.call('waiting.list', {})).jobs, { timeout: 30_000 })
    .toMatchObject([{ jobId, kind: 'perplexity', hadBegun: true, problem: null }]);
  expect((await client.call('jobs.list', {})).jobs).toEqual([]);
  await client.call('waiting.start', { jobId });
  await client.call('jobs.stop', { jobId });
  await client.call('jobs.wait', { jobId });
  // Stopped by the person: that was its end.
  expect((await client.call('waiting.list', {})).jobs).toEqual([]);
}, 120_000);

test('of two studios on one folder each has its own queue; one that ended leaves its jobs to the other', async () => {
  const first = await openStudio();
  const second = await openStudio();
  await occupy(first.window);
  const { jobId } = await first.window.client.call('quantize', short(inFolder('first')));
  const { client } = second.window;
  expect((await client.call('waiting.list', {})).jobs).toEqual([]);
  await expect(client.call('waiting.dismiss', { jobId })).rejects.toMatchObject({ code: 'not-found' });

  // With everything that belongs to it, as by a power cut: nothing is let go of.
  process.kill(first.studio.pid()!, 'SIGKILL');
  await first.studio.close();
  expect((await client.call('waiting.list', {})).jobs).toMatchObject([{ jobId, hadBegun: false }]);
  const third = await openStudio();
  expect((await third.window.client.call('waiting.list', {})).jobs).toMatchObject([{ jobId }]);
  const starts = await Promise.allSettled(
    [client, third.window.client].map((each) => each.call('waiting.start', { jobId })),
  );
  expect(starts.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  const winner = starts[0]!.status === 'fulfilled' ? client : third.window.client;
  expect((await winner.call('jobs.wait', { jobId })).job).toMatchObject({ state: 'finished' });
  for (const each of [client, third.window.client])
    expect((await each.call('waiting.list', {})).jobs).toEqual([]);
}, 240_000);

test('what was wrong with the queue before there was a window is said to each that comes later', async () => {
  const before = await openStudio();
  await occupy(before.window);
  const taken = await before.window.client.call('quantize', short(inFolder('taken')));
  mkdirSync(inFolder('taken'));
  // Nobody is there when the engine comes back.
  const lost = new Promise((resolve) => before.window.socket.once('close', resolve));
  process.kill(before.studio.pid()!, 'SIGKILL');
  await lost;
  const { client } = await openAgain(before.studio, before.window, 1);
  await expect
    .poll(async () => (await client.call('waiting.list', {})).jobs, { timeout: 30_000 })
    .toMatchObject([{ jobId: taken.jobId }]);
  const warnings = ({ events }: Opened) =>
    events.flatMap((event) => (event.type === 'service-message' ? [[event.level, event.message]] : []));
  for (let count = 0; count < 2; count++) {
    const window = await openClient(before.studio, { session: before.window.session });
    await expect
      .poll(() => warnings(window), { timeout: 30_000 })
      .toEqual([
        ['warning', expect.stringMatching(/^quantize of .* could not be put back into the queue: /)],
      ]);
  }
  await before.studio.close();

  writeFileSync(path.join(home(), 'queue.sqlite'), 'damaged '.repeat(4096));
  const after = await openStudio();
  await expect
    .poll(() => warnings(after.window), { timeout: 30_000 })
    .toEqual([['warning', expect.stringContaining('queue.sqlite.damaged-1 and a new one was begun')]]);
}, 120_000);

test.each([
  ['it had just begun when the engine ended unexpectedly, with nothing written yet, and begins anew', false],
  ['it was paused when the engine ended unexpectedly, and is paused again; continue it to go on', true],
])(
  'a quantization that had written nothing when the engine was killed stands before those behind it: %s',
  async (message, isPaused) => {
    const { studio, window } = await openStudio();
    const asked: string[] = [];
    const lost = new Promise((resolve) => window.socket.once('close', resolve));
    const begun = window.client.call('quantize', short(inFolder('begun')));
    const running = new Promise((resolve) => {
      window.client.onEvent((event) => {
        if (event.type === 'job-state' && event.job.state === 'running') resolve(event);
      });
    });
    const behind = window.client.call('quantize', short(inFolder('behind')));
    for (const { jobId } of await Promise.all([begun, behind])) asked.push(jobId);
    await running;
    if (isPaused) await window.client.call('jobs.pause', { jobId: asked[0]! });
    // Its process is only starting.
    process.kill(studio.pid()!, 'SIGKILL');
    await lost;
    expect(existsSync(`${inFolder('begun')}.partial`)).toBe(false);

    const { client } = await openAgain(studio, window, 2);
    const { jobs } = await client.call('jobs.list', {});
    expect(jobs.map(({ jobId }) => jobId)).toEqual(asked);
    const told = await client.call('jobs.details', { jobId: asked[0]! });
    expect(told.messages).toContainEqual({ level: 'info', message });
    expect((await client.call('waiting.list', {})).jobs).toEqual([]);
    if (isPaused) await goOn(client, asked[0]!);
    for (const jobId of asked)
      expect((await client.call('jobs.wait', { jobId })).job).toMatchObject({ state: 'finished' });
  },
  120_000,
);
