import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import SqliteDatabase from 'better-sqlite3';
import { afterAll, expect, test } from 'vitest';
import type { Job } from '../../engine/contract/jobs.ts';
import { KeptJobStore } from '../../engine/service/jobs/kept-job-store.ts';
import { jobKeeper } from '../../engine/service/jobs/kept-jobs.ts';
import { JobQueue } from '../../engine/service/jobs/queue.ts';
import { createWaitingJobs } from '../../engine/service/jobs/waiting-jobs.ts';
import { serviceLimits } from '../../engine/service/limits.ts';
import { childProcessHost } from '../../engine/service/process-host.ts';

/** The file that keeps jobs, and what becomes of jobs where it cannot be used. */

const root = mkdtempSync(path.join(os.tmpdir(), 'dbell-kept-jobs-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const child = path.join(import.meta.dirname, 'kept-jobs-child.ts');

/** Of SQLite. */
const pageBytes = 4096;

function newQueue() {
  const home = mkdtempSync(path.join(root, 'home-'));
  const file = path.join(home, 'queue.sqlite');
  const warnings: string[] = [];
  const warn = (message: string) => warnings.push(message);
  const store = new KeptJobStore(file, 'studio', warn);
  const queue = new JobQueue(childProcessHost, () => {}, { keeper: jobKeeper(store, warn) });
  const { promise: held, resolve: release } = Promise.withResolvers<void>();
  const add = (work: () => Promise<unknown> = async () => {}, given = '/p') =>
    queue.add(
      {
        ...{ kind: 'verify', runId: null, tasks: ['verify'] },
        subject: { models: ['/p'], recipe: null, activationBits: null, output: null },
        run: async () => {
          await work();
          return {
            ...{ ok: true, problems: [], warnings: [], package: '/p', against: null, runId: null },
            ...{ checkedFiles: 0, checkedTensors: 0, checkedBytes: 0 },
          };
        },
      },
      { request: { call: 'verify', input: { package: given, remember: false } } },
    );
  const change = (sql: string) => {
    const database = new SqliteDatabase(file);
    database.exec(sql);
    database.close();
  };
  return { home, file, warnings, store, queue, add, held, release, change };
}

test('a job is in the file from before its call is answered until its end; closing leaves it there, in its order', async () => {
  const { store, queue, add, held, release, file } = newQueue();
  expect(store.left()).toEqual([]);
  // Asking makes no file.
  expect(() => readFileSync(file)).toThrow();
  await queue.wait(add().jobId);
  const jobs = [add(() => held), add(), add()];
  await expect.poll(() => queue.get(jobs[0]!.jobId).state).toBe('running');
  // They are this process's own.
  expect(store.left()).toEqual([]);
  expect(store.take(jobs[1]!.jobId, 'last')).toBe(false);
  const closed = queue.close();
  release();
  await closed;
  expect(store.left().map(({ jobId, hasBegun }) => [jobId, hasBegun])).toEqual([
    [jobs[1]!.jobId, false],
    [jobs[2]!.jobId, false],
  ]);
  // Taken, it stands behind the others and is nobody else's.
  expect(store.take(jobs[1]!.jobId, 'last')).toBe(true);
  expect(store.left().map(({ jobId }) => jobId)).toEqual([jobs[2]!.jobId]);
  store.release(jobs[1]!.jobId);
  expect(store.left().map(({ jobId }) => jobId)).toEqual([jobs[2]!.jobId, jobs[1]!.jobId]);
});

test('jobs that are put back keep their order for the next process, whichever of them could be', async () => {
  const { home, store, queue, add, held, release, file, warnings } = newQueue();
  const running = add(() => held);
  const given = ['a', 'b', 'c'].map((name) => path.join(home, name));
  const jobs = given.map((folder) => add(undefined, folder));
  await expect.poll(() => queue.get(running.jobId).state).toBe('running');
  const closed = queue.close();
  release();
  await closed;
  for (const folder of [given[0]!, given[2]!]) mkdirSync(folder);

  const next = new JobQueue(childProcessHost, () => {}, {
    keeper: jobKeeper(store, (message) => warnings.push(message)),
  });
  const { promise: heldAgain, resolve: releaseAgain } = Promise.withResolvers<void>();
  const definition = (input: { package: string }) => ({
    ...{ kind: 'verify' as const, runId: null, tasks: ['verify' as const] },
    subject: { models: [input.package], recipe: null, activationBits: null, output: null },
    run: () => heldAgain.then(() => Promise.reject(new Error('over'))),
  });
  const waiting = createWaitingJobs({
    ...{ store, studioId: 'studio', queue: next, definitions: { verify: definition } as never },
    ...{ isUnfinishedDownload: () => false, changed() {}, warn: (message) => warnings.push(message) },
  });
  waiting.restore([]);
  expect(next.list().map(({ jobId }) => jobId)).toEqual([jobs[0]!.jobId, jobs[2]!.jobId]);
  expect(warnings).toEqual([expect.stringContaining(`${given[1]} is not there any more`)]);
  // As a process that dies: all three are left.
  store.release();
  expect(new KeptJobStore(file, 'studio', () => {}).left().map(({ jobId }) => jobId)).toEqual(
    jobs.map(({ jobId }) => jobId),
  );
  releaseAgain();
  await next.close();
});

test('a file of a newer version or of another program is left alone; jobs run all the same, and that is said', async () => {
  for (const [sql, reason] of [
    ['PRAGMA user_version = 99', 'newer version'],
    ['PRAGMA application_id = 7', 'another program'],
  ] as const) {
    const { queue, add, change, file, warnings } = newQueue();
    await queue.wait(add().jobId);
    change(sql);
    const before = readFileSync(file);
    expect(await queue.wait(add().jobId)).toMatchObject({ state: 'finished' });
    expect(warnings[0]).toContain('jobs that wait would be lost');
    expect(warnings[0]).toContain(reason);
    expect(readFileSync(file)).toEqual(before);
    await queue.close();
  }
});

test('a damaged file is kept under another name, and a new one begun', async () => {
  const { home, queue, add, file, warnings } = newQueue();
  writeFileSync(file, 'not a database at all, but long enough to be looked at'.repeat(100));
  await queue.wait(add().jobId);
  expect(warnings).toEqual([
    `the queue ${file} is damaged; it was kept as ${file}.damaged-1 and a new one was begun`,
  ]);
  expect(readdirSync(home).sort()).toEqual(['queue.sqlite', 'queue.sqlite.damaged-1']);
  await queue.close();
});

test.each<[string, (bytes: Buffer) => Buffer]>([
  ['a page in the middle', (bytes) => bytes.fill(0xaa, 3 * pageBytes, 4 * pageBytes)],
  ['the last page', (bytes) => bytes.fill(0xaa, bytes.length - pageBytes)],
  ['the end cut off', (bytes) => bytes.subarray(0, 6000)],
  ['the table of contents', (bytes) => bytes.fill(0xaa, 150, pageBytes)],
])('damage that SQLite finds only in its work sets the file aside as well: %s', async (_, damage) => {
  const { home, store, queue, add, held, release, change, file, warnings } = newQueue();
  const running = add(() => held);
  change(
    `WITH RECURSIVE numbers(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < 60)
     INSERT INTO jobs SELECT position + number, job_id || number, created_at, described, call, input, 0, studio_id, NULL
     FROM jobs, numbers`,
  );
  expect(store.left()).toHaveLength(60);
  const damaged = damage(readFileSync(file));
  writeFileSync(file, damaged);

  expect(store.left()).toEqual([]);
  expect(warnings).toEqual([
    `the queue ${file} is damaged; it was kept as ${file}.damaged-1 and a new one was begun`,
  ]);
  expect(readFileSync(`${file}.damaged-1`)).toEqual(damaged);
  expect(readdirSync(home).sort()).toEqual(['queue.sqlite', 'queue.sqlite.damaged-1']);
  // The new one keeps jobs.
  const { jobId, createdAt, kind, tasks, subject } = queue.get(running.jobId);
  const again = { jobId, createdAt, kind, tasks, subject } as Job;
  store.keep(again, { call: 'verify', input: { package: '/p', remember: false } });
  store.release();
  expect(store.left().map((job) => job.jobId)).toEqual([jobId]);
  release();
  await queue.close();
});

/** A queue with one job that no process has. */
async function leftQueue() {
  const made = newQueue();
  const running = made.add(() => made.held);
  const { jobId } = made.add();
  await expect.poll(() => made.queue.get(running.jobId).state).toBe('running');
  const closed = made.queue.close();
  made.release();
  await closed;
  return { ...made, jobId };
}

/** What another process is answered, as a user whom permissions bind. */
function askAsUser(file: string, jobId: string, command: string[] = []) {
  const user = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
  const [program = '', ...rest] = [...command, process.execPath, child, file, jobId];
  return JSON.parse(spawnSync(program, rest, { encoding: 'utf8', ...user }).stdout) as unknown;
}

test('a folder that cannot be written, or is in the place of the file, is said with what to do', async () => {
  const { home, store, file, jobId } = await leftQueue();
  chmodSync(root, 0o755);
  for (const [name, mode] of [
    [file, 0o644],
    [home, 0o555],
  ] as const)
    chmodSync(name, mode);
  const readOnly = {
    code: 'disk-error',
    message: `queue ${file} is read-only, or its folder is; make both writable, or choose another folder with DBELL_HOME`,
  };
  expect(askAsUser(file, jobId)).toEqual({ left: [jobId], take: readOnly, remove: readOnly });
  chmodSync(home, 0o755);
  expect(store.left().map((job) => job.jobId)).toEqual([jobId]);
  rmSync(file);
  mkdirSync(file);
  const isFolder = {
    code: 'disk-error',
    message: `queue ${file} is a folder, not a file; move it away and try again`,
  };
  expect(askAsUser(file, jobId)).toEqual({ left: isFolder, take: isFolder, remove: isFolder });
});

test.runIf(process.platform === 'linux')(
  'a full disk (RLIMIT_FSIZE) is said to be full and loses nothing',
  async () => {
    const { home, store, file, jobId } = await leftQueue();
    chmodSync(root, 0o755);
    chmodSync(home, 0o777);
    chmodSync(file, 0o666);
    const limited = ['/bin/bash', '-c', 'ulimit -f 4 && exec "$0" "$@"'];
    const full = {
      code: 'disk-full',
      message: `queue ${file} cannot be written: the disk is full; free some space and try again`,
    };
    expect(askAsUser(file, jobId, limited)).toEqual({ left: [jobId], take: full, remove: full });
    expect(store.left().map((job) => job.jobId)).toEqual([jobId]);
  },
);

test('a row that cannot be understood is said and left alone, and the others are read', async () => {
  const { store, queue, add, held, release, change, warnings } = newQueue();
  const jobs = [add(() => held), add(), add()];
  await expect.poll(() => queue.get(jobs[0]!.jobId).state).toBe('running');
  change(`UPDATE jobs SET described = '{"kind":"of another version"}' WHERE job_id = '${jobs[1]!.jobId}'`);
  const closed = queue.close();
  release();
  await closed;
  expect(store.left().map(({ jobId }) => jobId)).toEqual([jobs[2]!.jobId]);
  expect(warnings).toEqual([expect.stringContaining(`job ${jobs[1]!.jobId} in`)]);
  expect(store.remove(jobs[1]!.jobId)).toBe(true);
});

test('more jobs than anybody asks for are refused, and taken again when there is room', async () => {
  const { store, queue, add, held, release } = newQueue();
  const running = add(() => held);
  await expect.poll(() => queue.get(running.jobId).state).toBe('running');
  const waiting = Array.from({ length: serviceLimits.queuedJobs }, () => add());
  expect(() => add()).toThrowError(/500 jobs wait already, .* stop some of them/);
  queue.stop(waiting[0]!.jobId);
  add();
  const closed = queue.close();
  release();
  await closed;
  expect(store.left()).toHaveLength(serviceLimits.queuedJobs);
}, 60_000);
