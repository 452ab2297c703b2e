import { fork } from 'node:child_process';
import path from 'node:path';
import { expect, test } from 'vitest';
import { childProcessHost, type ProcessHost } from '../../engine/service/process-host.ts';
import { startTask } from '../../engine/service/supervisor.ts';

/** The real host, with a hand on each process before its task begins. */
function intercept(onStart: (process: ReturnType<ProcessHost['start']>) => void): ProcessHost {
  return {
    start() {
      const process = childProcessHost.start();
      onStart(process);
      return process;
    },
  };
}

test('a task gives its checked result', async () => {
  const result = await startTask(childProcessHost, 'environment', {}).done;
  expect(result.problem).toBeNull();
  expect(result.threads).toBeGreaterThan(0);
});

test('a work process that is killed is reported with its signal', async () => {
  const host = intercept((process) => process.kill());
  await expect(startTask(host, 'environment', {}).done).rejects.toMatchObject({
    code: 'worker-died',
    message: expect.stringContaining('SIGKILL'),
  });
});

test('a work process whose service dies while it is still loading does nothing', async () => {
  const file = path.join(import.meta.dirname, '..', '..', 'engine', 'service', 'work-process.ts');
  const worker = fork(file, [], { execArgv: [], serialization: 'advanced' });
  const ended = new Promise((resolve) => worker.once('exit', (_, signal) => resolve(signal)));
  await new Promise((resolve) => worker.send({ type: 'run', task: 'environment', input: {} }, resolve));
  worker.disconnect();
  expect(await ended).toBe('SIGKILL');
});

test('a task that is ended by us is stopped, not dead', async () => {
  const task = startTask(childProcessHost, 'environment', {});
  task.kill();
  await expect(task.done).rejects.toMatchObject({ code: 'stopped' });
});

test('a work process refuses a message outside the protocol and ends', async () => {
  const host = intercept((process) => process.send({ type: 'run', task: 'format-the-disk', input: {} }));
  await expect(startTask(host, 'environment', {}).done).rejects.toMatchObject({ code: 'internal' });
});

test('a work process that says something outside the protocol is ended and named', async () => {
  const host: ProcessHost = {
    start() {
      const process = childProcessHost.start();
      const listeners: ((message: unknown) => void)[] = [];
      return {
        ...process,
        onMessage(listener) {
          listeners.push(listener);
          setImmediate(() => listener({ type: 'progress', progress: { fraction: 7 } }));
        },
      };
    },
  };
  await expect(startTask(host, 'environment', {}).done).rejects.toMatchObject({
    code: 'internal',
    message: expect.stringContaining('message of the work process'),
  });
});
