import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Client, createClient } from '../../engine/contract/client.ts';
import type { JobKind, JobResult } from '../../engine/contract/jobs.ts';
import { childProcessHost } from '../../engine/service/process-host.ts';
import { createService, type Service } from '../../engine/service/service.ts';
import { bundled } from '../assets.ts';

/** Verifications as a part of a run and as runs of their own, and what the history keeps of them. */

const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-verify-'));
const out = path.join(folder, 'package');
let service: Service;
let client: Client;
let madeBy = '';

async function ended<K extends JobKind>(jobId: string, _kind: K): Promise<JobResult<K>> {
  const { job } = await client.call('jobs.wait', { jobId });
  expect(job.error).toBeNull();
  return job.result as JobResult<K>;
}

beforeAll(async () => {
  service = createService({ home: path.join(folder, 'home'), processHost: childProcessHost });
  client = createClient({
    request: (request) => service.handle(request),
    onEvent: (listener) => service.onEvent(listener),
  });
});
afterAll(async () => {
  await service.close();
  rmSync(folder, { recursive: true });
});

function damage(of: string): void {
  const file = path.join(of, 'model.safetensors');
  const bytes = readFileSync(file);
  bytes[bytes.length - 100]! ^= 1;
  writeFileSync(file, bytes);
}

test('a run that was asked to verifies its package against the original, and keeps the verdict', async () => {
  const { jobId, runId } = await client.call('quantize', {
    model: bundled.model,
    recipe: 'rtn-8',
    calibration: { bundled: 'stories' },
    out,
    followUp: { verify: true },
  });
  madeBy = runId ?? '';
  expect((await client.call('jobs.get', { jobId })).job.tasks).toEqual(['quantize', 'verify']);
  const { verify } = await ended(jobId, 'quantize');
  expect(verify).toMatchObject({ ok: true, problems: [], package: out, against: bundled.model, runId });
  expect(verify?.checkedTensors).toBeGreaterThan(100);
  const { run } = await client.call('history.show', { runId: madeBy });
  expect(run.results.verify).toEqual(verify);
  expect(run.results.quantize).not.toHaveProperty('verify');
}, 60_000);

test('a verification is a run of its own, which appears with the one that made the package', async () => {
  const { jobId, runId } = await client.call('verify', { package: out, against: bundled.model });
  const found = await ended(jobId, 'verify');
  expect(found).toMatchObject({ ok: true, runId });
  const { run, madeBy: maker } = await client.call('history.show', { runId: runId ?? '' });
  expect(run).toMatchObject({
    ...{ kind: 'verify', state: 'finished', recipe: 'rtn-8', activationBits: 8, modelPath: out },
    results: { verify: { ok: true, package: out } },
  });
  expect(maker?.runId).toBe(madeBy);
  const { measurements } = await client.call('history.show', { runId: madeBy });
  expect(measurements.map((measured) => measured.runId)).toEqual([runId]);
}, 60_000);

test('what is wrong is the verdict: with the run that made the package where it lies in its place, alone where it is a copy', async () => {
  const copy = path.join(folder, 'copy');
  cpSync(out, copy, { recursive: true });
  damage(copy);
  const ofCopy = await client.call('verify', { package: copy });
  expect(await ended(ofCopy.jobId, 'verify')).toMatchObject({ ok: false });
  const shown = await client.call('history.show', { runId: ofCopy.runId ?? '' });
  expect(shown.run).toMatchObject({ kind: 'verify', recipe: 'rtn-8', packageFingerprint: null });
  expect(shown.madeBy).toBeNull();

  damage(out);
  const inPlace = await client.call('verify', { package: out });
  const { ok, problems } = await ended(inPlace.jobId, 'verify');
  expect(ok).toBe(false);
  expect(problems.map(({ message }) => message).join()).toContain('model.safetensors');
  const { measurements } = await client.call('history.show', { runId: madeBy });
  expect(measurements[0]).toMatchObject({ runId: inPlace.runId, results: { verify: { ok: false } } });
}, 60_000);

test('a package that cannot be read at all is remembered by its place, and nothing is where that was not wished', async () => {
  writeFileSync(path.join(out, 'config.json'), '{"model_type": ');
  const { jobId, runId } = await client.call('verify', { package: out });
  expect(await ended(jobId, 'verify')).toMatchObject({ ok: false });
  const { run } = await client.call('history.show', { runId: runId ?? '' });
  expect(run).toMatchObject({ recipe: null, activationBits: null, modelFingerprint: null, modelPath: out });
  const before = await client.call('history.list', { kind: 'verify' });
  const silent = await client.call('verify', { package: out, remember: false });
  expect(silent.runId).toBeNull();
  expect(await ended(silent.jobId, 'verify')).toMatchObject({ ok: false, runId: null });
  expect(await client.call('history.list', { kind: 'verify' })).toEqual(before);
}, 60_000);
