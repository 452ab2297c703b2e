import { expect, test } from 'vitest';
import { DBellError } from '../../engine/contract/errors.ts';
import type { ServiceEvent } from '../../engine/contract/events.ts';
import type { VerifyResult } from '../../engine/contract/quantization.ts';
import type { JobContext, JobDefinition } from '../../engine/service/jobs/job.ts';
import { JobQueue } from '../../engine/service/jobs/queue.ts';
import { childProcessHost, type ProcessHost } from '../../engine/service/process-host.ts';
import { bundled } from '../assets.ts';

const result: VerifyResult = {
  ok: true,
  problems: [],
  warnings: [],
  package: '/p',
  against: null,
  checkedFiles: 0,
  checkedTensors: 0,
  checkedBytes: 0,
};

function job(run: (context: JobContext) => Promise<unknown>): JobDefinition<'verify'> {
  return {
    kind: 'verify',
    runId: null,
    run: async (context) => {
      await run(context);
      return result;
    },
  };
}

function newQueue(host: ProcessHost = childProcessHost): { queue: JobQueue; events: ServiceEvent[] } {
  const events: ServiceEvent[] = [];
  return { queue: new JobQueue(host, (event) => events.push(event)), events };
}

const statesOf = (events: ServiceEvent[], jobId: string) =>
  events.flatMap((event) =>
    event.type === 'job-state' && event.job.jobId === jobId ? [event.job.state] : [],
  );

test('jobs run one after another in the order in which they came', async () => {
  const { queue, events } = newQueue();
  const order: string[] = [];
  const first = queue.add(
    job(async ({ runTask }) => {
      order.push('first begins');
      await runTask('environment', {});
      order.push('first ends');
    }),
  );
  const second = queue.add(job(async () => order.push('second')));
  await queue.wait(second.jobId);
  expect(order).toEqual(['first begins', 'first ends', 'second']);
  expect(statesOf(events, first.jobId)).toEqual(['queued', 'running', 'finished']);
  expect((await queue.wait(first.jobId)).result).toEqual(result);
});

test('a job whose work process dies fails with its signal, and the next job runs', async () => {
  let starts = 0;
  const { queue } = newQueue({
    start() {
      const process = childProcessHost.start();
      if (starts++ === 0) process.kill();
      return process;
    },
  });
  const dead = queue.add(
    job(async ({ runTask, setResumable }) => {
      setResumable('/out');
      await runTask('environment', {});
    }),
  );
  const alive = queue.add(job(({ runTask }) => runTask('environment', {})));
  expect(await queue.wait(dead.jobId)).toMatchObject({
    state: 'failed',
    error: { code: 'worker-died', message: expect.stringContaining('SIGKILL') },
    resumable: { path: '/out' },
  });
  expect(await queue.wait(alive.jobId)).toMatchObject({ state: 'finished', error: null });
});

test('a queued job that is stopped never starts', async () => {
  const { queue, events } = newQueue();
  let started = false;
  queue.add(job(({ runTask }) => runTask('environment', {})));
  const waiting = queue.add(
    job(async () => {
      started = true;
    }),
  );
  expect(queue.stop(waiting.jobId).state).toBe('stopped');
  await queue.close();
  expect(started).toBe(false);
  expect(statesOf(events, waiting.jobId)).toEqual(['queued', 'stopped']);
});

test('a job that is stopped between two tasks does not begin the second', async () => {
  const { queue } = newQueue();
  const { promise, resolve } = Promise.withResolvers<void>();
  const stopped = queue.add(
    job(async ({ jobId, runTask }) => {
      await runTask('environment', {});
      queue.stop(jobId);
      resolve();
      await runTask('environment', {});
    }),
  );
  await promise;
  expect(await queue.wait(stopped.jobId)).toMatchObject({ state: 'stopped', error: { code: 'stopped' } });
});

test('pause and continue are refused where they mean nothing', async () => {
  const { queue } = newQueue();
  const { jobId } = queue.add(job(async () => {}));
  expect(() => queue.pause(jobId)).toThrowError(/is queued and cannot be paused/);
  await queue.wait(jobId);
  expect(() => queue.continue(jobId)).toThrowError(/is finished and cannot be continued/);
  expect(queue.stop(jobId).state).toBe('finished');
});

test('a running job is paused and goes on', async () => {
  const { queue, events } = newQueue();
  const running = queue.add(
    job(async ({ jobId, runTask }) => {
      const task = runTask('environment', {});
      queue.pause(jobId);
      queue.continue(jobId);
      await task;
    }),
  );
  await queue.wait(running.jobId);
  expect(statesOf(events, running.jobId)).toEqual(['queued', 'running', 'paused', 'running', 'finished']);
});

test('what a job throws is its error, whatever it is', async () => {
  const { queue } = newQueue();
  const failing = queue.add(job(() => Promise.reject(new DBellError('disk-full', 'no room'))));
  const broken = queue.add(job(() => Promise.reject('nonsense')));
  expect(await queue.wait(failing.jobId)).toMatchObject({
    state: 'failed',
    error: { code: 'disk-full', message: 'no room' },
  });
  expect(await queue.wait(broken.jobId)).toMatchObject({ error: { code: 'internal', message: 'nonsense' } });
});

test('a closing queue stops everything and takes nothing more', async () => {
  const { queue } = newQueue();
  const { jobId } = queue.add(job(({ runTask }) => runTask('environment', {})));
  await queue.close();
  expect(['stopped', 'finished']).toContain(queue.get(jobId).state);
  expect(() => queue.add(job(async () => {}))).toThrowError(/closing/);
});

test('while a benchmark is timed, windows are told at most once a second how far it is', async () => {
  const times: number[] = [];
  const timed = new JobQueue(childProcessHost, (event) => {
    if (event.type === 'job-progress' && event.progress.task === 'benchmark') times.push(performance.now());
  });
  const { jobId } = timed.add({
    kind: 'benchmark',
    runId: null,
    run: async ({ runTask }) => {
      const subject = await runTask('benchmark', {
        model: bundled.model,
        threads: 1,
        promptTokens: [16, 32],
        decodeDepths: [0],
        generateTokens: 32,
        repetitions: 4,
      });
      return { ...subject, baseline: null, runId: null };
    },
  });
  const job = await timed.wait(jobId);
  expect(job.error).toBeNull();
  expect(times.length).toBeGreaterThan(0);
  const gaps = times.slice(1).map((time, index) => time - times[index]!);
  // The last one is told at once, so that nobody sees an older state than the result's.
  for (const gap of gaps.slice(0, -1)) expect(gap).toBeGreaterThan(900);
  await timed.close();
});
