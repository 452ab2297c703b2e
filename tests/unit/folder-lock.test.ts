import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { afterAll, beforeEach, expect, test } from 'vitest';
import { lockFileName, lockFolder } from '../../engine/files/folder-lock.ts';

/** Taking over what a killed process left locked. */

const root = mkdtempSync(path.join(os.tmpdir(), 'dbell-folder-lock-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(root, 'folder-'));
});

const goneProcess = 2 ** 22 + 1;
const lockOf = (pid: number, token: string) =>
  JSON.stringify({ pid, host: os.hostname(), incarnation: '', token });
const file = (name = lockFileName) => path.join(folder, name);
/** The lock on replacing a stale lock. */
const guardOf = (name: string, stale: string) =>
  `${name}.${createHash('sha256').update(stale).digest('hex').slice(0, 16)}`;

test('while a process is taking over a stale lock, nobody else does', async () => {
  const stale = lockOf(goneProcess, 'killed');
  writeFileSync(file(), stale);
  writeFileSync(file(guardOf(lockFileName, stale)), lockOf(process.ppid, 'taking over'));
  await expect(lockFolder(folder)).rejects.toMatchObject({
    code: 'output-exists',
    message: expect.stringContaining(`is being written by process ${process.ppid}`),
  });
  expect(readFileSync(file(), 'utf8')).toBe(stale);
});

test('of a process that was killed while it took over, and the next one too, the lock is taken over', async () => {
  const stale = lockOf(goneProcess, 'killed');
  const first = lockOf(goneProcess, 'killed while taking over');
  const guard = guardOf(lockFileName, stale);
  writeFileSync(file(), stale);
  writeFileSync(file(guard), first);
  writeFileSync(file(guardOf(guard, first)), lockOf(goneProcess, 'killed while taking that over'));
  const lock = await lockFolder(folder);
  expect(readdirSync(folder)).toEqual([lockFileName]);
  await expect(lockFolder(folder)).rejects.toMatchObject({ code: 'output-exists' });
  lock.release();
  expect(readdirSync(folder)).toEqual([]);
});

test('a lock that cannot be read may be one that is being written', async () => {
  writeFileSync(file(), '');
  const taking = lockFolder(folder);
  writeFileSync(file(), lockOf(process.ppid, 'slow writer'));
  await expect(taking).rejects.toMatchObject({
    message: expect.stringContaining('is being written by process'),
  });
  writeFileSync(file(), 'cut');
  (await lockFolder(folder)).release();
  expect(readdirSync(folder)).toEqual([]);
});

test('of several processes that find stale locks at one time, each goes to exactly one', async () => {
  const folders = Array.from({ length: 40 }, (_, index) => path.join(folder, String(index)));
  for (const [index, each] of folders.entries()) {
    mkdirSync(each);
    writeFileSync(path.join(each, lockFileName), index % 4 === 3 ? 'cut' : lockOf(goneProcess, 'killed'));
  }
  const signal = path.join(folder, 'go');
  const child = path.join(import.meta.dirname, 'folder-lock-child.ts');
  const children: ChildProcess[] = [];
  try {
    const said = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const started = spawn(process.execPath, [child, signal, ...folders], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        children.push(started);
        const lines = readline.createInterface({ input: started.stdout })[Symbol.asyncIterator]();
        expect((await lines.next()).value).toBe('ready');
        return lines;
      }),
    );
    writeFileSync(signal, '');
    const taken = await Promise.all(
      said.map(async (lines) => JSON.parse((await lines.next()).value!) as string[]),
    );
    expect(taken.flat().sort()).toEqual([...folders].sort());
  } finally {
    for (const each of children) each.kill('SIGKILL');
  }
}, 60_000);
