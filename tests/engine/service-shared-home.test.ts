import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { openHistory } from '../../engine/history/history.ts';
import type { RunBeginning, RunOutcome } from '../../engine/history/types.ts';
import { createHistoryAccess } from '../../engine/service/history-access.ts';
import { openSettings } from '../../engine/service/settings-file.ts';

/** What lies in DBELL_HOME belongs to whoever is at the machine: another studio, an editor, a backup may change it while it is in use. */

const root = mkdtempSync(path.join(tmpdir(), 'dbell-shared-home-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const newHome = () => mkdtempSync(path.join(root, 'home-'));

const beginning: RunBeginning = {
  runId: 'run-1',
  kind: 'quantize',
  createdAt: '2026-01-02T03:04:05.000Z',
  modelPath: '/models/a',
  modelFingerprint: null,
  packageFingerprint: null,
  recipe: 'gptq-4',
  activationBits: 8,
  settings: {},
};
const outcome: RunOutcome = {
  metrics: { storedBitsPerWeight: 4.25 },
  results: {},
  layers: [],
  artifacts: [],
  modelFingerprint: null,
  packageFingerprint: null,
  activationBits: null,
};

function accessIn(home: string) {
  const warnings: string[] = [];
  const file = path.join(home, 'history.sqlite');
  const access = createHistoryAccess(file, {}, { warn: (text) => warnings.push(text), changed: () => {} });
  return { access, warnings, file };
}

test('a run that ends after the history was removed is in the new one, and that is said', () => {
  const home = newHome();
  const { access, warnings, file } = accessIn(home);
  access.runs.begin(beginning);
  rmSync(home, { recursive: true });

  access.runs.finish('run-1', outcome);
  expect(warnings).toEqual([
    `the history ${file} was removed or replaced while it was in use; what stands there now is used`,
  ]);
  expect(access.open().show('run-1')).toMatchObject({ state: 'finished', modelPath: '/models/a' });
  access.close();
  const again = openHistory(file);
  expect(again.show('run-1').metrics).toEqual({ storedBitsPerWeight: 4.25 });
  again.close();
});

test('a history that was put in the place of another is read from then on', () => {
  const { access, file } = accessIn(newHome());
  access.runs.begin(beginning);
  access.runs.fail('run-1', { code: 'stopped', message: 'stopped' });

  const backup = accessIn(newHome());
  backup.access.runs.begin({ ...beginning, runId: 'from-the-backup' });
  backup.access.runs.finish('from-the-backup', outcome);
  backup.access.close();
  for (const suffix of ['', '-wal', '-shm']) rmSync(file + suffix, { force: true });
  writeFileSync(file, readFileSync(backup.file));

  expect(
    access
      .open()
      .export()
      .map(({ runId }) => runId),
  ).toEqual(['from-the-backup']);
  access.close();
});

test('a run whose beginning could not be written is remembered when its end can', () => {
  const { access, warnings, file } = accessIn(newHome());
  access.open();
  access.close();
  const bytes = readFileSync(file);
  rmSync(file);
  // Another program's database stands there while the run begins: SQLite keeps the application id at byte 68.
  const foreign = Buffer.from(bytes);
  foreign.writeUInt32BE(7, 68);
  writeFileSync(file, foreign);
  access.runs.begin(beginning);
  expect(warnings).toEqual([expect.stringContaining('is a database of another program')]);

  rmSync(file);
  writeFileSync(file, bytes);
  access.runs.finish('run-1', outcome);
  expect(access.open().show('run-1').state).toBe('finished');
  access.close();
});

test('two studios on one folder keep the settings of each other', () => {
  const home = newHome();
  const nobody = () => expect.fail('nothing is wrong');
  const first = openSettings(home, nobody);
  const second = openSettings(home, nobody);
  expect(second.get().network).toBe(false);
  expect(first.set({ network: true }).network).toBe(true);
  expect(second.get().network).toBe(true);
  second.set({ threads: 3 });
  expect(first.set({ theme: 'dark' })).toMatchObject({ network: true, threads: 3, theme: 'dark' });
  // An editor's change counts as well.
  writeFileSync(path.join(home, 'settings.json'), '{"diskFloorBytes": 0}');
  expect(first.get()).toMatchObject({ diskFloorBytes: 0, network: false });
});

test('settings that cannot be understood are kept under another name when one is changed', () => {
  const home = newHome();
  const file = path.join(home, 'settings.json');
  const newer = '{"theme": "dark", "ofANewerVersion": 1}';
  writeFileSync(file, newer);
  const warnings: string[] = [];
  const settings = openSettings(home, (text) => warnings.push(text));
  expect(settings.get().theme).toBe('system');
  expect(settings.get().theme).toBe('system');
  expect(warnings).toEqual([expect.stringContaining('ofANewerVersion')]);
  expect(readFileSync(file, 'utf8')).toBe(newer);

  settings.set({ threads: 2 });
  expect(warnings[1]).toBe(`${file} could not be used; it was kept as ${file}.damaged-1`);
  expect(readFileSync(`${file}.damaged-1`, 'utf8')).toBe(newer);
  expect(settings.get().threads).toBe(2);
  expect(existsSync(file)).toBe(true);
  expect(readdirSync(home).sort()).toEqual(['settings.json', 'settings.json.damaged-1']);
});
