import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { quantizeInputSchema } from '../../engine/contract/quantization.ts';
import {
  createRunFile,
  differingSettings,
  outputOf,
  type RunFile,
  readRunFile,
  updateRunFile,
  workFolderOf,
} from '../../engine/service/run-file.ts';

const root = mkdtempSync(path.join(os.tmpdir(), 'dbell-run-file-'));
afterAll(() => rmSync(root, { recursive: true }));
let count = 0;
function newFolder(): string {
  const folder = path.join(root, String(count++));
  mkdirSync(folder);
  return folder;
}

const run: RunFile = {
  version: 1,
  runId: 'run-1',
  createdAt: '2026-01-01T00:00:00.000Z',
  input: quantizeInputSchema.parse({
    model: '/m',
    recipe: 'rtn-4',
    calibration: { bundled: 'general' },
    out: '/o',
  }),
  attempts: 0,
  peakRssBytes: 0,
};

test('what was written is read again, and nothing else is left', () => {
  const folder = newFolder();
  expect(readRunFile(folder)).toBeNull();
  expect(createRunFile(folder, run)).toEqual(run);
  expect(readRunFile(folder)).toEqual(run);
  updateRunFile(folder, { ...run, attempts: 3 });
  expect(readRunFile(folder)).toMatchObject({ attempts: 3 });
  expect(readdirSync(folder)).toEqual(['run.json']);
});

test('of two that create it the first one wins, and both know', () => {
  const folder = newFolder();
  createRunFile(folder, run);
  expect(createRunFile(folder, { ...run, runId: 'run-2' }).runId).toBe('run-1');
  expect(readdirSync(folder)).toEqual(['run.json']);
});

test.each([
  ['not JSON', '{"version": 1'],
  ['of another version', JSON.stringify({ ...run, version: 2 })],
  ['without a run', JSON.stringify({ ...run, runId: undefined })],
  ['with a hostile path', JSON.stringify({ ...run, input: { ...run.input, model: 'a\0b' } })],
  ['with unknown parts', JSON.stringify({ ...run, more: 1 })],
])('a run file that is %s is refused with what to do', (_, content) => {
  const folder = newFolder();
  writeFileSync(path.join(folder, 'run.json'), content);
  expect(() => readRunFile(folder)).toThrowError(
    expect.objectContaining({
      code: 'invalid-checkpoint',
      message: expect.stringContaining(`delete ${folder}`),
    }),
  );
});

test('OUT and OUT.partial name the same run', () => {
  expect(outputOf('/a/out')).toBe('/a/out');
  expect(outputOf('/a/out.partial')).toBe('/a/out');
  expect(outputOf('/a/out.partial/')).toBe('/a/out');
  expect(workFolderOf('/a/out')).toBe('/a/out.partial');
});

test('settings that change bytes are compared, threads are not', () => {
  expect(differingSettings(run.input, { ...run.input, threads: 2 })).toEqual([]);
  expect(differingSettings(run.input, { ...run.input, windows: 2, seed: 1 })).toEqual(['windows', 'seed']);
});
