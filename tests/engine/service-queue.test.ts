import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DBellError } from '../../engine/contract/errors.ts';
import type { ServiceEvent } from '../../engine/contract/events.ts';
import type { VerifyResult } from '../../engine/contract/quantization.ts';
import { setFreeSpaceProbe } from '../../engine/files/faults.ts';
import { type JobContext, type JobDefinition, readOnlySubject } from '../../engine/service/jobs/job.ts';
import { JobQueue } from '../../engine/service/jobs/queue.ts';
import { serviceLimits } from '../../engine/service/limits.ts';
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
  runId: null,
};

function job(run: (context: JobContext) => Promise<unknown>): JobDefinition<'verify'> {
  return {
    kind: 'verify',
    runId: null,
    tasks: ['verify'],
    subject: readOnlySubject('/p'),
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

describe('a volume with too little room', () => {
  const floor = 1e9;
  let free = 0;
  beforeEach(() => {
    free = 2e9;
    setFreeSpaceProbe(() => free);
  });
  afterEach(() => setFreeSpaceProbe(null));

  /** A job that writes, and works until it is told to end. */
  function writer(diskFloorBytes = () => floor) {
    const events: ServiceEvent[] = [];
    const queue = new JobQueue(childProcessHost, (event) => events.push(event), { diskFloorBytes });
    const { promise, resolve } = Promise.withResolvers<void>();
    const definition = {
      ...job(() => promise),
      subject: { ...readOnlySubject('/p'), output: '/out/package' },
    };
    const { jobId } = queue.add(definition);
    const until = (state: string) =>
      expect.poll(() => queue.get(jobId).state, { timeout: 10_000 }).toBe(state);
    const messages = () =>
      events.flatMap((event) => (event.type === 'job-message' ? [`${event.level}: ${event.message}`] : []));
    return { queue, events, jobId, end: resolve, until, messages };
  }

  test('pauses the job that writes to it, which says so and goes on by itself', async () => {
    const { queue, events, jobId, end, until, messages } = writer();
    await until('running');
    free = floor - 1e8;
    await until('paused');
    expect(queue.get(jobId).hold).toEqual({
      ...{ reason: 'disk-floor', output: '/out/package', freeBytes: 9e8, floorBytes: floor },
    });
    expect(() => queue.continue(jobId)).toThrowError(/900 MB are free .* cannot be continued before/);
    expect(messages()).toEqual([
      'warning: paused: 900 MB are free where /out/package is written, less than the 1.00 GB that are left to others (setting diskFloorBytes); make room, and it goes on by itself',
    ]);
    // What is left is shown as it changes; just above the floor it would pause again at once.
    free = floor + 1e6;
    await expect.poll(() => queue.get(jobId).hold?.freeBytes, { timeout: 10_000 }).toBe(free);
    free = 2 * floor;
    await until('running');
    expect(queue.get(jobId).hold).toBeNull();
    expect(messages().at(-1)).toContain('info: there is room again where /out/package is written');
    end();
    await queue.wait(jobId);
    expect(statesOf(events, jobId)).toEqual(['queued', 'running', 'paused', 'paused', 'running', 'finished']);
  });

  test('is noticed before the first byte, and a changed floor at once', async () => {
    let wanted = 5e9;
    const { queue, jobId, end, until } = writer(() => wanted);
    await until('paused');
    wanted = 0;
    await until('running');
    end();
    expect(await queue.wait(jobId)).toMatchObject({ state: 'finished', hold: null });
  });

  test('does not keep a job from being stopped', async () => {
    free = 0;
    const { queue, jobId, end, until } = writer();
    await until('paused');
    expect(queue.stop(jobId)).toMatchObject({ state: 'stopping', hold: null });
    end();
    await queue.wait(jobId);
  });

  test('leaves a job that a person paused paused, and jobs that write nothing alone', async () => {
    const { queue, jobId, end, until } = writer();
    await until('running');
    queue.pause(jobId);
    free = 0;
    await new Promise((resolve) => setTimeout(resolve, 1.5 * serviceLimits.diskWatchIntervalMs));
    expect(queue.get(jobId)).toMatchObject({ state: 'paused', hold: null });
    free = 2e9;
    queue.continue(jobId);
    end();
    await queue.wait(jobId);
    free = 0;
    const reading = queue.add(job(async () => {}));
    expect(await queue.wait(reading.jobId)).toMatchObject({ state: 'finished' });
  });
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
    tasks: ['benchmark'],
    subject: readOnlySubject(bundled.model),
    run: async ({ runTask }) => {
      const subject = await runTask('benchmark', {
        model: bundled.model,
        device: 'cpu',
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
