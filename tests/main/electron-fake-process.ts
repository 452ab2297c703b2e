import { parentPort, workerData } from 'node:worker_threads';

/**
 * A thread that is to its module what Electron's utility process is: with `process.parentPort`, whose messages bring ports, and whose end is its own.
 */
const parent = parentPort!;
Object.assign(process, {
  parentPort: {
    on: (_event: 'message', listener: (event: { data: unknown; ports: unknown[] }) => void) =>
      parent.on('message', (event) => listener(event)),
    postMessage: (message: unknown) => parent.postMessage(message),
  },
  // A thread that ends itself must not take the tests with it.
  kill: (pid: number) => {
    if (pid === process.pid) process.exit(137);
  },
});
await import(workerData.entry);
