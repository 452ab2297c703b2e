import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Client, createClient } from '../../engine/contract/client.ts';
import type { ServiceEvent } from '../../engine/contract/events.ts';
import { limits } from '../../engine/contract/limits.ts';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import { childProcessHost } from '../../engine/service/process-host.ts';
import { createService, type Service } from '../../engine/service/service.ts';
import { bundled } from '../assets.ts';
import { lowBitGguf } from './model-low-bit-support.ts';

/** What a window needs beyond what a terminal does. */

const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-studio-'));
const home = path.join(folder, 'home');
let service: Service;
let client: Client;
const events: ServiceEvent[] = [];

function open(): void {
  service = createService({ home, processHost: childProcessHost });
  client = createClient({
    request: (request) => service.handle(request),
    onEvent: (listener) => service.onEvent(listener),
  });
  client.onEvent((event) => events.push(event));
}

beforeAll(open);
afterAll(async () => {
  await service.close();
  rmSync(folder, { recursive: true });
});

test('settings have defaults, survive the service and are told to all windows', async () => {
  expect((await client.call('settings.get', {})).settings).toEqual({
    theme: 'system',
    threads: 0,
    memoryBudgetBytes: null,
    diskFloorBytes: limits.diskFloorBytes,
    network: false,
    hubEndpoint: null,
    modelsFolder: null,
    packagesFolder: null,
    allowedFolders: [],
  });
  await client.call('settings.set', { theme: 'dark' });
  await client.call('settings.set', { threads: 2 });
  expect(events.filter(({ type }) => type === 'settings-changed')).toMatchObject([
    { settings: { theme: 'dark', threads: 0 } },
    { settings: { theme: 'dark', threads: 2 } },
  ]);
  await service.close();
  open();
  expect((await client.call('settings.get', {})).settings).toMatchObject({ theme: 'dark', threads: 2 });
});

test.each([
  [{ packagesFolder: 'packages' }, 'packagesFolder: "packages" is not a whole path; begin it with / or ~'],
  [{ modelsFolder: './m' }, 'modelsFolder: "./m" is not a whole path; begin it with / or ~'],
  [{ allowedFolders: ['/', 'x'] }, 'allowedFolders: "x" is not a whole path; begin it with / or ~'],
])('a folder that would depend on where the program is started is not kept: %j', async (changes, message) => {
  await expect(client.call('settings.set', changes)).rejects.toMatchObject({
    code: 'invalid-input',
    message,
  });
  expect((await client.call('settings.get', {})).settings).toMatchObject({ packagesFolder: null });
  expect((await client.call('settings.set', { packagesFolder: '~/p' })).settings.packagesFolder).toMatch(
    /^\//,
  );
  await client.call('settings.set', { packagesFolder: null });
});

test('a damaged settings file is said, and not overwritten before a setting is changed', async () => {
  await service.close();
  const file = path.join(home, 'settings.json');
  writeFileSync(file, '{"theme": "purple"}');
  open();
  expect((await client.call('settings.get', {})).settings.theme).toBe('system');
  const warning = events.findLast(({ type }) => type === 'service-message');
  expect(warning).toMatchObject({ level: 'warning', message: expect.stringContaining('settings.json') });
  expect(readFileSync(file, 'utf8')).toBe('{"theme": "purple"}');
});

test('the environment names samples that can be used as they are', async () => {
  const { samples, packagesFolder } = await client.call('environment', {});
  expect(samples.models.map(({ path }) => path)).toContain(bundled.model);
  expect(samples.texts.map(({ name }) => name)).toEqual(['general', 'stories', 'stories-validation']);
  expect(packagesFolder).toBe(path.join(home, 'models'));
});

test('a preview shows the very tokens that a calibration takes', async () => {
  const input = { model: bundled.model, text: { bundled: 'stories' }, windows: 4, context: 128 };
  const preview = await client.call('previewText', input);
  expect(preview).toMatchObject({ textName: 'bundled:stories', context: 128 });
  expect(preview.availableWindows).toBe(Math.floor(preview.totalTokens / 128));
  // The separator in front of the first document, then its words.
  const [first] = preview.windows;
  expect(first?.tokens[0]).toEqual({ id: 0, text: '<|endoftext|>' });
  const text = first?.tokens.map(({ text }) => text).join('') ?? '';
  const source = readFileSync(bundled.trainingText, 'utf8').replaceAll(/\s+/g, ' ');
  expect(source).toContain(text.slice('<|endoftext|>'.length).replaceAll(/\s+/g, ' ').trim().slice(0, 200));
  const drawn = await client.call('previewText', { ...input, seed: 7 });
  expect(drawn.fingerprint).not.toBe(preview.fingerprint);
  expect(drawn.textSha256).toBe(preview.textSha256);
  await expect(client.call('previewText', { ...input, windows: 100_000 })).rejects.toMatchObject({
    code: 'invalid-text',
  });
});

test('who comes late hears of a job what its events told', async () => {
  const { jobId } = await client.call('quantize', {
    model: bundled.model,
    recipe: 'dbellquant',
    set: [{ key: 'transform.maximumEpochs', value: '3' }],
    calibration: { bundled: 'stories' },
    windows: 2,
    context: 64,
    out: path.join(folder, 'package'),
  });
  await client.call('jobs.wait', { jobId });
  const told = events.flatMap((event) =>
    event.type === 'job-layer' && event.jobId === jobId
      ? [{ blockIndex: event.blockIndex, layer: event.layer }]
      : [],
  );
  const details = await client.call('jobs.details', { jobId });
  expect(details.job.state).toBe('finished');
  expect(details.job.tasks).toEqual(['quantize']);
  // The recipe's name says what was changed, once it is resolved for the model.
  expect(details.job.subject).toEqual({
    models: [bundled.model],
    recipe: 'dbellquant transform.maximumEpochs=3',
    activationBits: 8,
    output: path.join(folder, 'package'),
  });
  expect(details.layers).toEqual(told);
  expect(told).toHaveLength(8 * 7);
  const query = told[0]?.layer;
  const weights = (counts: number[] | undefined) => counts?.reduce((sum, count) => sum + count, 0);
  expect(query?.name).toContain('q_proj');
  expect(weights(query?.histograms?.original.counts)).toBe(256 * 256);
  expect(weights(query?.histograms?.quantized.counts)).toBe(256 * 256);
  expect(query?.ltdb?.lossCurve.length).toBeGreaterThan(0);
  expect(query?.channelMaxima?.channels).toBe(256);
  expect(query?.channelMaxima?.after).not.toEqual(query?.channelMaxima?.before);
  expect(Math.max(...(query?.channelMaxima?.before ?? []))).toBeGreaterThan(0);
}, 60_000);

test('a package that will be larger than its model is told of beforehand', async () => {
  const model = path.join(mkdtempSync(path.join(os.tmpdir(), 'dbell-larger-')), 'ternary.gguf');
  writeFileSync(model, lowBitGguf('TQ1_0', new SeededRandom(5)));
  const problemsOf = async (recipe: string) => {
    const { problems } = await client.call('estimate', { model, recipe, measureSpeed: false });
    return problems.filter(({ code }) => code === 'larger-than-original');
  };
  // Of 1.7 bits a weight, written with 8.
  expect(await problemsOf('rtn-8')).toEqual([
    {
      severity: 'warning',
      code: 'larger-than-original',
      message: expect.stringMatching(
        /^the weight file will be larger than the model’s own: [\d.]+ kB, not [\d.]+ kB;/,
      ),
    },
  ]);
  expect(await problemsOf('rtn-1')).toEqual([]);
  rmSync(path.dirname(model), { recursive: true });
});

test('the sizes of all recipes are those of their estimates', async () => {
  const { sizes } = await client.call('recipeSizes', { model: bundled.model });
  const { recipes } = await client.call('recipes', {});
  const names = sizes.map(({ recipe }) => recipe);
  expect(recipes.map(({ name }) => name)).toEqual(expect.arrayContaining(names));
  expect(names).toContain('dbellquant');
  // The sample's weights are not natively low-bit.
  expect(names).not.toContain('as-is');
  const estimate = await client.call('estimate', {
    model: bundled.model,
    recipe: 'gptq-3',
    measureSpeed: false,
  });
  expect(sizes.find(({ recipe }) => recipe === 'gptq-3')).toEqual({
    recipe: 'gptq-3',
    packageBytes: estimate.packageBytes,
    storedBitsPerWeight: estimate.storedBitsPerWeight,
  });
});
