import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Client, createClient } from '../../engine/contract/client.ts';
import type { ServiceEvent } from '../../engine/contract/events.ts';
import { childProcessHost } from '../../engine/service/process-host.ts';
import { createService, type Service } from '../../engine/service/service.ts';
import { type RunningCli, runCli, startCli } from './cli-run.ts';
import { FakeHub } from './hub-server.ts';
import { noise, repositoryOf, tinyModel } from './hub-support.ts';

let hub: FakeHub;
let home: string;
let service: Service;
let client: Client;
const events: ServiceEvent[] = [];
const weights = 'model.safetensors';
const commands: RunningCli[] = [];

beforeEach(async () => {
  hub = await FakeHub.start();
  hub.repositories.set('lab/tiny', repositoryOf(tinyModel));
  home = mkdtempSync(path.join(os.tmpdir(), 'dbell-hub-home-'));
  service = createService({ home, processHost: childProcessHost });
  client = createClient({
    request: (request) => service.handle(request),
    onEvent: (listener) => service.onEvent(listener),
  });
  events.length = 0;
  client.onEvent((event) => events.push(event));
});
afterEach(async () => {
  for (const command of commands.splice(0)) {
    command.child.kill('SIGKILL');
    await command.done;
  }
  await service.close();
  await hub.stop();
  rmSync(home, { recursive: true, force: true });
});

const switchOn = () => client.call('settings.set', { network: true, hubEndpoint: hub.endpoint });
const target = () => path.join(home, 'downloads', 'lab', 'tiny');
/** Weights that come slowly enough for other processes to start meanwhile. */
function slowWeights(): Buffer {
  const content = noise(1_000_000);
  hub.repositories.get('lab/tiny')!.files[weights] = { content, isLarge: true };
  hub.bytesPerSecond = 25_000;
  return content;
}
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 20));
}
const partBytes = () =>
  statSync(path.join(`${target()}.download`, `${weights}.part`), { throwIfNoEntry: false })?.size ?? 0;

test('while the switch is off nothing is asked of anybody', async () => {
  await client.call('settings.set', { hubEndpoint: hub.endpoint });
  expect(await client.call('hub.status', {})).toMatchObject({ network: false, endpoint: hub.endpoint });
  for (const work of [
    client.call('hub.search', { query: 'tiny' }),
    client.call('hub.model', { name: 'lab/tiny' }),
    client.call('hub.download', { name: 'lab/tiny' }),
  ]) {
    await expect(work).rejects.toMatchObject({ code: 'network-off' });
  }
  expect(await client.call('hub.unfinished', {})).toEqual({ downloads: [] });
  expect(hub.requests).toEqual([]);
});

test('with the switch on a model is found, looked at, fetched and among the recent ones', async () => {
  await switchOn();
  const { models } = await client.call('hub.search', { query: 'tiny' });
  expect(models.map(({ name }) => name)).toEqual(['lab/tiny']);
  expect((await client.call('hub.model', { name: 'lab/tiny' })).supported).toBe(true);
  const { jobId } = await client.call('hub.download', { name: 'lab/tiny' });
  const { job } = await client.call('jobs.wait', { jobId });
  expect(job).toMatchObject({
    kind: 'download',
    state: 'finished',
    tasks: ['download'],
    subject: { models: ['lab/tiny'] },
    result: { path: target() },
  });
  expect(await client.call('inspect', { model: target() })).toMatchObject({ usable: true });
  const { recent } = await client.call('models.list', {});
  expect(recent).toEqual([expect.objectContaining({ path: target(), format: 'huggingface' })]);
});

test('a download that is asked for twice, by a double click or a second window, is one', async () => {
  slowWeights();
  await switchOn();
  const [first, second] = await Promise.all([
    client.call('hub.download', { name: 'lab/tiny' }),
    client.call('hub.download', { name: 'lab/tiny' }),
  ]);
  expect(second.jobId).toBe(first.jobId);
  // One that is stopping does not go on: that is a new one.
  await until(() => partBytes() > 0);
  await client.call('jobs.stop', { jobId: first.jobId });
  const third = await client.call('hub.download', { name: 'lab/tiny' });
  expect(third.jobId).not.toBe(first.jobId);
  await client.call('jobs.stop', { jobId: third.jobId });
  for (const { jobId } of [first, third]) await client.call('jobs.wait', { jobId });
});

test('turning the switch off ends what goes on; what was fetched stays', async () => {
  slowWeights();
  await switchOn();
  const { jobId } = await client.call('hub.download', { name: 'lab/tiny' });
  await until(() => partBytes() > 0);
  await client.call('settings.set', { network: false });
  const { job } = await client.call('jobs.wait', { jobId });
  expect(job.state).toBe('stopped');
  const requests = hub.requests.length;
  const { downloads } = await client.call('hub.unfinished', {});
  expect(downloads).toEqual([expect.objectContaining({ name: 'lab/tiny', path: target() })]);
  expect(downloads[0]!.bytesDone).toBeGreaterThan(0);
  await client.call('hub.discard', { path: target() });
  expect(existsSync(`${target()}.download`)).toBe(false);
  expect(hub.requests.length).toBe(requests);
});

test('a download runs beside other work, pauses, goes on, and says how far it is', async () => {
  const content = slowWeights();
  await switchOn();
  const { jobId } = await client.call('hub.download', { name: 'lab/tiny' });
  await until(() => partBytes() > 0);
  const model = path.join(import.meta.dirname, '..', '..', 'resources', 'dbell-stories-7m');
  const { jobId: other } = await client.call('generate', {
    model,
    prompt: 'One',
    maximumTokens: 4,
    threads: 1,
    sampling: { kind: 'greedy' },
  });
  await until(() =>
    events.some(
      (event) => event.type === 'job-state' && event.job.jobId === other && event.job.state === 'running',
    ),
  );
  expect((await client.call('jobs.get', { jobId })).job.state).toBe('running');
  await client.call('jobs.pause', { jobId });
  expect((await client.call('jobs.wait', { jobId: other })).job.state).toBe('finished');
  expect((await client.call('jobs.get', { jobId })).job.state).toBe('paused');
  hub.bytesPerSecond = 0;
  await client.call('jobs.continue', { jobId });
  await client.call('jobs.wait', { jobId });
  expect(readFileSync(path.join(target(), weights)).equals(content)).toBe(true);
  const told = events.flatMap((event) =>
    event.type === 'job-progress' && event.jobId === jobId ? [event.progress] : [],
  );
  const done = told.map(({ bytes }) => bytes?.done ?? 0);
  expect(done).toEqual([...done].sort((a, b) => a - b));
  expect(done.at(-1)).toBe(told.at(-1)?.bytes?.total);
});

test('a token is kept in memory, used, and told to nobody', async () => {
  hub.repositories.get('lab/tiny')!.token = 'hf_secret';
  await switchOn();
  await expect(client.call('hub.model', { name: 'lab/tiny' })).rejects.toMatchObject({
    code: 'access-denied',
  });
  await client.call('hub.token', { token: ' hf_secret ' });
  expect(await client.call('hub.status', {})).toMatchObject({ token: 'given' });
  expect((await client.call('hub.model', { name: 'lab/tiny' })).name).toBe('lab/tiny');
  await client.call('hub.token', { token: 'hf_wrong' });
  const refused = await client.call('hub.model', { name: 'lab/tiny' }).catch((error: Error) => error.message);
  expect(refused).toContain('does not accept the access token');
  expect(JSON.stringify([refused, events])).not.toContain('hf_wrong');
  for (const name of ['settings.json', 'downloads.sqlite']) {
    const file = path.join(home, name);
    if (existsSync(file)) expect(readFileSync(file).includes('hf_')).toBe(false);
  }
});

const download = (...more: string[]) => {
  const command = startCli(
    ['download', 'lab/tiny', '--network', '--endpoint', hub.endpoint, '--json', ...more],
    {
      DBELL_HOME: home,
    },
  );
  commands.push(command);
  return command;
};

test('the command line refuses without --network, and says the same', async () => {
  const result = await runCli(['download', 'lab/tiny', '--endpoint', hub.endpoint, '--json'], {
    DBELL_HOME: home,
  });
  expect(result.exitCode).toBe(1);
  expect(JSON.parse(result.stdout)).toMatchObject({ error: { code: 'network-off' } });
  expect(result.stderr).toContain('--network');
  const plain = await runCli(['search', 'x', '--network', '--endpoint', 'http://mirror.example'], {
    DBELL_HOME: home,
  });
  expect(plain.exitCode).toBe(2);
  expect(plain.stderr).toContain('https://');
  expect(hub.requests).toEqual([]);
});

test('a download that is killed goes on in a new process where it was', async () => {
  const content = slowWeights();
  const first = download();
  await until(() => partBytes() > 30_000);
  first.child.kill('SIGKILL');
  await first.done;
  // The work process ends with the one that started it.
  const size = await settled(partBytes);
  hub.bytesPerSecond = 0;
  hub.requests.length = 0;
  const second = await download().done;
  expect(second.stderr).not.toContain('error');
  expect(second.exitCode).toBe(0);
  const result = JSON.parse(second.stdout);
  expect(result).toMatchObject({ path: target(), wasThere: false });
  expect(result.transferredBytes).toBe(1_000_000 - size);
  expect(hub.contentRequests(weights).map(({ headers }) => headers.range)).toEqual([`bytes=${size}-`]);
  expect(readFileSync(path.join(target(), weights)).equals(content)).toBe(true);
});

/** A size once it has stopped growing. */
async function settled(measure: () => number): Promise<number> {
  let before = -1;
  for (;;) {
    const now = measure();
    if (now === before) return now;
    before = now;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

test('of two processes that want the same model one is told', async () => {
  slowWeights();
  const first = download();
  await until(() => partBytes() > 0);
  const second = await download().done;
  expect(second.exitCode).toBe(1);
  expect(JSON.parse(second.stdout)).toMatchObject({ error: { code: 'output-exists' } });
  expect(second.stderr).toMatch(/being written by process \d+; wait for it, or stop it/);
  hub.bytesPerSecond = 0;
  first.child.kill('SIGINT');
  const stopped = await first.done;
  expect(stopped.exitCode).toBe(130);
  expect(stopped.stderr).toContain('the same command goes on with it');
});
