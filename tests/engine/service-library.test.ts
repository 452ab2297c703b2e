import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Client, createClient } from '../../engine/contract/client.ts';
import { quantizeInputSchema } from '../../engine/contract/quantization.ts';
import { lockFolder } from '../../engine/files/folder-lock.ts';
import { childProcessHost } from '../../engine/service/process-host.ts';
import { createRunFile } from '../../engine/service/run-file.ts';
import { createService, type Service } from '../../engine/service/service.ts';
import { bundled } from '../assets.ts';

/** What the studio offers without being asked for a path: models, packages, unfinished runs, free places, the machine. */

const folder = realpathSync(mkdtempSync(path.join(os.tmpdir(), 'dbell-library-')));
const home = path.join(folder, 'home');
const models = path.join(home, 'models');
let service: Service;
let client: Client;

function open(): void {
  service = createService({ home, processHost: childProcessHost });
  client = createClient({ request: (request) => service.handle(request), onEvent: () => () => {} });
}

beforeAll(open);
afterAll(async () => {
  await service.close();
  rmSync(folder, { recursive: true });
});

const quantize = {
  model: bundled.model,
  recipe: 'rtn-8',
  calibration: { bundled: 'stories' },
  windows: 1,
  context: 32,
};

async function finish(jobId: string) {
  const { job } = await client.call('jobs.wait', { jobId });
  expect(job.error).toBeNull();
  return job;
}

test('at first there is the sample, and nothing else', async () => {
  const { bundled: samples, recent } = await client.call('models.list', {});
  expect(samples).toEqual([
    { path: bundled.model, name: 'dbell-stories-7m', format: 'huggingface', exists: true, usedAt: null },
  ]);
  expect(recent).toEqual([]);
  expect(await client.call('packages.list', {})).toEqual({ packages: [] });
  expect(await client.call('runs.unfinished', {})).toEqual({ runs: [] });
});

test('models that were looked at with that wish are offered again, newest first, unusable ones are not', async () => {
  const copy = path.join(folder, 'copy');
  cpSync(bundled.model, copy, { recursive: true });
  const broken = path.join(folder, 'broken');
  mkdirSync(broken);
  await client.call('inspect', { model: bundled.model });
  await client.call('inspect', { model: bundled.model, remember: true });
  await client.call('inspect', { model: copy, remember: true });
  await client.call('inspect', { model: bundled.model, remember: true });
  expect((await client.call('inspect', { model: broken, remember: true })).usable).toBe(false);
  const names = async () =>
    (await client.call('models.list', {})).recent.map(({ name, exists }) => [name, exists]);
  expect(await names()).toEqual([
    ['dbell-stories-7m', true],
    ['copy', true],
  ]);
  rmSync(copy, { recursive: true });
  expect(await names()).toEqual([
    ['dbell-stories-7m', true],
    ['copy', false],
  ]);
  await client.call('models.forget', { path: copy });
  expect(await names()).toEqual([['dbell-stories-7m', true]]);
  writeFileSync(path.join(home, 'recent-models.json'), 'damaged');
  expect(await names()).toEqual([]);
});

test('a place is suggested that neither a package nor unfinished work has', async () => {
  const suggest = async (model: string, recipe: string) =>
    (await client.call('outputs.suggest', { model, recipe })).path;
  expect(await suggest(bundled.model, 'rtn-8')).toBe(path.join(models, 'dbell-stories-7m-rtn-8'));
  mkdirSync(path.join(models, 'dbell-stories-7m-rtn-8'), { recursive: true });
  mkdirSync(path.join(models, 'dbell-stories-7m-rtn-8-2.partial'));
  expect(await suggest(bundled.model, 'rtn-8')).toBe(path.join(models, 'dbell-stories-7m-rtn-8-3'));
  expect(await suggest('/x/My Model: v2.gguf', 'grid-4+residual-5')).toBe(
    path.join(models, 'My-Model-v2-grid-4+residual-5'),
  );
  rmSync(models, { recursive: true });
});

test('whether a package can appear at a place is told beforehand, as an error of the field', async () => {
  const check = (out: string, model: string = bundled.model) =>
    client.call('outputs.check', { model, recipe: 'rtn-8', calibration: { bundled: 'general' }, out });
  const free = path.join(folder, 'free');
  expect(await check(free)).toEqual({ isUnfinished: false });
  // Nothing was begun by asking.
  expect(existsSync(`${free}.partial`)).toBe(false);
  const taken = path.join(folder, 'taken');
  mkdirSync(taken);
  await expect(check(taken)).rejects.toMatchObject({ code: 'output-exists', field: 'output' });
  await expect(check(path.join(bundled.model, 'inside'))).rejects.toMatchObject({
    code: 'invalid-input',
    field: 'output',
  });
  await expect(check('/'.padEnd(5000, 'x'))).rejects.toMatchObject({
    code: 'invalid-input',
    field: 'output',
  });
  await expect(check(free, '')).rejects.not.toHaveProperty('field', 'output');
  const input = quantizeInputSchema.parse({
    ...{ model: bundled.model, recipe: 'rtn-8', calibration: { bundled: 'general' }, out: free },
  });
  mkdirSync(`${free}.partial`);
  createRunFile(`${free}.partial`, {
    ...{ version: 1, runId: 'begun', createdAt: new Date().toISOString(), attempts: 0, peakRssBytes: 0 },
    input,
  });
  expect(await check(free)).toEqual({ isUnfinished: true });
  rmSync(`${free}.partial`, { recursive: true });
  rmSync(taken, { recursive: true });
});

test('packages are found by the history and in their folder, with what is wrong with them', async () => {
  const elsewhere = path.join(folder, 'elsewhere');
  const { jobId, runId } = await client.call('quantize', { ...quantize, out: elsewhere });
  await finish(jobId);
  mkdirSync(models, { recursive: true });
  cpSync(elsewhere, path.join(models, 'copied'), { recursive: true });
  mkdirSync(path.join(models, 'damaged'));
  writeFileSync(
    path.join(models, 'damaged', 'config.json'),
    '{"quantization_config": {"quant_method": "dbell"}}',
  );
  mkdirSync(path.join(models, 'unrelated'));
  const { packages } = await client.call('packages.list', {});
  const byName = Object.fromEntries(packages.map((each) => [each.name, each]));
  expect(Object.keys(byName).sort()).toEqual(['copied', 'damaged', 'elsewhere']);
  expect(byName.elsewhere).toMatchObject({
    path: elsewhere,
    runId,
    recipe: 'rtn-8',
    activationBits: 8,
    embeddingBits: 16,
    problem: null,
  });
  expect(byName.copied).toMatchObject({ runId: null, recipe: 'rtn-8', bytes: byName.elsewhere?.bytes });
  expect(byName.damaged).toMatchObject({ recipe: null, bytes: null, problem: expect.any(String) });
  rmSync(elsewhere, { recursive: true });
  expect((await client.call('packages.list', {})).packages.map(({ name }) => name)).not.toContain(
    'elsewhere',
  );
}, 60_000);

test('the bytes of a package are all accounted for, and every linear has its error', async () => {
  const quality = await client.call('packages.quality', { package: path.join(models, 'copied') });
  expect(quality.parts.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(quality.bytes);
  expect(quality.layers).toHaveLength(8 * 7);
  expect(quality.layers.at(-1)?.blockIndex).toBe(7);
  const part = (name: string) => quality.parts.find((each) => each.name === name)?.bytes ?? 0;
  const linears = quality.layers.reduce((sum, { storedBytes }) => sum + storedBytes, 0);
  expect(part('attention') + part('mlp')).toBe(linears);
  expect(part('embedding')).toBeGreaterThan(0);
  // The sample's head is its embedding: counted once.
  expect(part('head')).toBe(0);
  expect(part('other files')).toBeGreaterThan(0);
  expect(part('header')).toBeGreaterThan(0);
});

test('a stopped run is offered until it is taken up', async () => {
  const out = path.join(folder, 'interrupted');
  const { jobId, runId } = await client.call('quantize', {
    ...quantize,
    recipe: 'dbellquant',
    windows: 16,
    context: 128,
    out,
    followUp: { quality: { text: { bundled: 'stories-validation' }, windows: 1 } },
  });
  const planned = {
    tasks: ['quantize', 'quality'],
    subject: { models: [bundled.model], recipe: 'dbellquant', activationBits: 8, output: out },
  };
  expect((await client.call('jobs.get', { jobId })).job).toMatchObject(planned);
  await new Promise<void>((resolve) => {
    const stop = service.onEvent((event) => {
      if (event.type !== 'job-layer') return;
      stop();
      resolve();
    });
  });
  expect(await client.call('runs.unfinished', {})).toEqual({ runs: [] });
  await client.call('jobs.stop', { jobId });
  await client.call('jobs.wait', { jobId });
  await service.close();
  open();
  const { runs } = await client.call('runs.unfinished', {});
  expect(runs).toMatchObject([{ path: out, runId, model: bundled.model, recipe: 'dbellquant' }]);
  // While a process works there, such as a command's, there is nothing to take up.
  const lock = await lockFolder(`${out}.partial`);
  expect(await client.call('runs.unfinished', {})).toEqual({ runs: [] });
  lock.release();
  expect((await client.call('runs.unfinished', {})).runs).toHaveLength(1);
  // Taken up, it is the same work.
  const resumed = await client.call('resume', { path: out });
  expect((await client.call('jobs.get', { jobId: resumed.jobId })).job).toMatchObject(planned);
  await client.call('jobs.stop', { jobId: resumed.jobId });
}, 60_000);

test('the machine tells its memory and the room where packages go, before their folder is there', async () => {
  await client.call('settings.set', { packagesFolder: path.join(folder, 'not', 'yet') });
  const machine = await client.call('machine', {});
  expect(machine.memoryBytes).toBe(os.totalmem());
  expect(machine.availableCores).toBe(os.availableParallelism());
  expect(machine.disk?.folder).toBe(path.join(folder, 'not', 'yet'));
  expect(machine.disk?.freeBytes).toBeGreaterThan(0);
  expect(machine.disk?.totalBytes).toBeGreaterThan(machine.disk?.freeBytes ?? 0);
});

test('links to nowhere in the folder for packages disturb nobody', async () => {
  const linked = path.join(folder, 'linked');
  mkdirSync(linked);
  symlinkSync(path.join(folder, 'nothing'), path.join(linked, 'dangling'));
  await client.call('settings.set', { packagesFolder: linked });
  expect((await client.call('packages.list', {})).packages.map(({ name }) => name)).not.toContain('dangling');
});
