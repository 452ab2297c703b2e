import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { lockFileName, lockFolder } from '../../engine/files/folder-lock.ts';
import { isRunning, lifeOf } from '../../engine/files/processes.ts';
import { isAlive } from '../../engine/history/owner.ts';

test('this process runs, an id that nobody has does not', () => {
  expect(isRunning(process.pid)).toBe(true);
  expect(isRunning(2 ** 22 + 1)).toBe(false);
});

describe.skipIf(process.platform !== 'linux')('a process that has ended and that nobody asked after', () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-processes-'));
  // The shell becomes a program that never waits for the child that it had. The child ends after that: a shell asks after one that ended before.
  const parent = spawn('sh', ['-c', 'sleep 1 & echo $!; exec sleep 600'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let pid = 0;
  beforeAll(async () => {
    pid = await new Promise<number>((resolve) =>
      parent.stdout.once('data', (text: Buffer) => resolve(Number(text.toString()))),
    );
    const state = () => / ([A-Z]) /.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1];
    while (state() !== 'Z') await new Promise((resolve) => setTimeout(resolve, 10));
  });
  afterAll(() => {
    parent.kill('SIGKILL');
    rmSync(folder, { recursive: true });
  });

  test('does not run, though it has its id', () => {
    expect(() => process.kill(pid, 0)).not.toThrow();
    expect(isRunning(pid)).toBe(false);
  });

  test('owns no run of the history', () => {
    const { startTicks, bootId } = lifeOf(pid)!;
    expect(isAlive(`${pid}:${startTicks}:${bootId}`)).toBe(false);
    expect(isAlive(String(pid))).toBe(false);
  });

  test('holds no lock', async () => {
    const { startTicks, bootId } = lifeOf(pid)!;
    const held = { pid, host: os.hostname(), incarnation: `${bootId}/${startTicks}`, token: 'theirs' };
    writeFileSync(path.join(folder, lockFileName), JSON.stringify(held));
    const lock = await lockFolder(folder);
    lock.release();
  });
});
