import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import SqliteDatabase from 'better-sqlite3';
import { afterAll, describe, expect, test } from 'vitest';
import { historyListInputSchema } from '../../engine/contract/history.ts';
import { type History, openHistory } from '../../engine/history/history.ts';
import { migrations } from '../../engine/history/migrations.ts';
import { SeededRandom } from '../../engine/model/seeded-random.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-history-files-'));
chmodSync(folder, 0o755);
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const child = path.resolve(import.meta.dirname, 'history-child.ts');

let number = 0;
function newFile(): string {
  number += 1;
  const own = path.join(folder, String(number));
  mkdirSync(own);
  return path.join(own, 'history.sqlite');
}

function begin(history: History, runId: string): void {
  history.begin({
    ...{
      runId,
      kind: 'quantize',
      createdAt: '2026-01-01T00:00:00.000Z',
      modelPath: '/m/x',
      modelFingerprint: null,
      packageFingerprint: null,
    },
    ...{ recipe: null, activationBits: null, settings: {} },
  });
}

function runIds(history: History): string[] {
  return history.list(historyListInputSchema.parse({ sortBy: 'createdAt' })).runs.map((run) => run.runId);
}

function withRun(file: string, runId = 'a'): string {
  const history = openHistory(file);
  begin(history, runId);
  history.close();
  return file;
}

/** Starts a second process and waits for its first line. */
async function start(mode: string, file: string) {
  const process_ = spawn(process.execPath, [child, mode, file], { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = new Promise<void>((resolve) => process_.on('exit', () => resolve()));
  let text = '';
  const line = await new Promise<string>((resolve, reject) => {
    process_.stdout.on('data', (piece: Buffer) => {
      text += piece.toString();
      if (text.includes('\n')) resolve(text);
    });
    process_.on('exit', (code) => reject(new Error(`the second process ended with ${code}`)));
  });
  return { process: process_, line: JSON.parse(line) as unknown, exited };
}

/** As a user whom permissions bind. */
function openAsUser(file: string) {
  const user = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
  const result = spawnSync(process.execPath, [child, 'open', file], { encoding: 'utf8', ...user });
  return JSON.parse(result.stdout);
}

describe('two processes', () => {
  test('that start at the same moment share one history', async () => {
    const file = newFile();
    const results = await Promise.all([1, 2, 3].map(() => start('open', file)));
    await Promise.all(results.map((result) => result.exited));
    for (const { line } of results)
      expect(line).toMatchObject({ readOnlyReason: null, notices: [], change: null });
    const history = openHistory(file);
    expect(runIds(history)).toHaveLength(3);
    history.close();
    expect(readdirSync(path.dirname(file))).toEqual(['history.sqlite']);
  });

  test('wait for each other, and say so when it takes too long', async () => {
    const file = withRun(newFile());
    const history = openHistory(file, { busyTimeoutMs: 300 });
    const other = await start('hold', file);
    expect(other.line).toBe('held');
    const started = performance.now();
    expect(() => begin(history, 'b')).toThrow(
      `history ${file} is in use by another program that has been writing for more than 0.3 s; close it or try again`,
    );
    expect(performance.now() - started).toBeGreaterThan(250);
    // Reading goes on meanwhile.
    expect(runIds(history)).toEqual(['a']);
    other.process.stdin.end();
    await other.exited;
    begin(history, 'b');
    expect(runIds(history).sort()).toEqual(['a', 'b']);
    history.close();
  });

  test('a run whose process was killed is interrupted, with what it had written', async () => {
    const file = newFile();
    const other = await start('begin', file);
    const while_ = openHistory(file);
    expect(while_.show('killed').state).toBe('running');
    while_.close();
    other.process.kill('SIGKILL');
    await other.exited;
    expect(existsSync(`${file}-wal`)).toBe(true);
    const after = openHistory(file);
    expect(after.show('killed').state).toBe('interrupted');
    after.close();
  });
});

describe('a file that is no history', () => {
  const random = new SeededRandom(1);
  const bytes = Buffer.from(Array.from({ length: 5000 }, () => random.nextUint32() & 255));

  test.each([
    ['is empty', Buffer.alloc(0)],
    ['holds random bytes', bytes],
    ['is shorter than a header', bytes.subarray(0, 7)],
  ])('and %s is set aside and kept', (_, content) => {
    const file = newFile();
    for (const number of [1, 2]) {
      writeFileSync(file, content);
      const history = openHistory(file);
      expect(history.notices).toEqual([
        `history ${file} is not a database; it was kept as ${file}.damaged-${number} and a new history was begun`,
      ]);
      begin(history, 'a');
      history.close();
      expect(readFileSync(`${file}.damaged-${number}`).equals(content)).toBe(true);
    }
    const again = openHistory(file);
    expect(again.notices).toEqual([]);
    expect(runIds(again)).toEqual(['a']);
    again.close();
  });

  test('but begins like one is set aside too', () => {
    const file = withRun(newFile());
    const content = readFileSync(file);
    const broken = Buffer.concat([content.subarray(0, 100), bytes, content.subarray(5100)]);
    writeFileSync(file, broken);
    const history = openHistory(file);
    expect(history.notices[0]).toMatch(
      /is damaged \(SQLITE_\w+\); it was kept as \S+\.damaged-1 and a new history/,
    );
    expect(runIds(history)).toEqual([]);
    history.close();
    expect(readFileSync(`${file}.damaged-1`).equals(broken)).toBe(true);
  });

  test("but another program's database is left alone", () => {
    const file = newFile();
    const database = new SqliteDatabase(file);
    database.exec('CREATE TABLE precious (x)');
    database.close();
    const content = readFileSync(file);
    expect(() => openHistory(file)).toThrow(
      `${file} is a database of another program; it is left alone. Set DBELL_HOME to another folder, or move the file away`,
    );
    expect(readFileSync(file).equals(content)).toBe(true);
    expect(readdirSync(path.dirname(file))).toEqual(['history.sqlite']);
  });

  test('but a folder is named', () => {
    const file = newFile();
    mkdirSync(file);
    expect(() => openHistory(file)).toThrow(`history ${file} is not a regular file`);
  });
});

test('a newer schema is refused and left unchanged', () => {
  const file = withRun(newFile());
  const database = new SqliteDatabase(file);
  database.pragma('user_version = 7');
  database.close();
  const content = readFileSync(file);
  expect(() => openHistory(file)).toThrow(
    `history ${file} was written by a newer version of DBell Studio (schema 7, this version knows up to ${migrations.length}); it is left unchanged. Update DBell Studio`,
  );
  expect(readFileSync(file).equals(content)).toBe(true);
});

test('a copy without its write-ahead log opens with what it holds', async () => {
  const file = withRun(newFile());
  const other = await start('begin', file);
  const copy = newFile();
  copyFileSync(file, copy);
  other.process.kill('SIGKILL');
  await other.exited;
  const history = openHistory(copy);
  expect(runIds(history)).toEqual(['a']);
  history.close();
});

describe('what cannot be written', () => {
  test('a read-only file is shown, and says why nothing is remembered', () => {
    const file = withRun(newFile());
    chmodSync(file, 0o444);
    const content = readFileSync(file);
    const readOnlyReason = `${file} is read-only; runs are shown, new ones are not remembered`;
    expect(openAsUser(file)).toEqual({
      ...{ readOnlyReason, notices: [], total: 1 },
      change: { code: 'invalid-history', message: `history: ${readOnlyReason}` },
    });
    expect(readFileSync(file).equals(content)).toBe(true);
  });

  test('a read-only folder, its write-ahead log included', async () => {
    const file = withRun(newFile());
    const other = await start('begin', file);
    other.process.kill('SIGKILL');
    await other.exited;
    const parent = path.dirname(file);
    for (const name of readdirSync(parent)) chmodSync(path.join(parent, name), 0o666);
    chmodSync(parent, 0o555);
    const before = readdirSync(parent);
    expect(openAsUser(file)).toMatchObject({
      readOnlyReason: `the folder ${parent} is read-only; runs are shown, new ones are not remembered`,
      total: 2,
    });
    chmodSync(parent, 0o755);
    expect(readdirSync(parent)).toEqual(before);
  });

  test('no history in a folder where none can be made', () => {
    const parent = path.join(folder, 'closed');
    mkdirSync(parent);
    chmodSync(parent, 0o555);
    const file = path.join(parent, 'history.sqlite');
    expect(openAsUser(file)).toEqual({
      code: 'disk-error',
      message: `history ${file} cannot be created: the folder cannot be written; choose another with DBELL_HOME`,
    });
    chmodSync(parent, 0o755);
  });

  test.runIf(process.platform === 'linux')(
    'a full disk (RLIMIT_FSIZE) is said to be full and loses nothing',
    () => {
      const file = withRun(newFile());
      const result = spawnSync(
        '/bin/bash',
        ['-c', 'ulimit -f 4 && exec "$0" "$@"', process.execPath, child, 'open', file],
        { encoding: 'utf8' },
      );
      const answer = JSON.parse(result.stdout);
      expect(answer.code ?? answer.change?.code).toBe('disk-full');
      const history = openHistory(file);
      expect(runIds(history)).toEqual(['a']);
      history.close();
    },
  );
});
