import { randomUUID } from 'node:crypto';
import { dataOf, type MessagePortLike } from '../message-port.ts';
import type { ProcessEnd, ProcessHost, WorkProcess } from '../process-host.ts';
import type { FromDesktopService } from './desktop-protocol.ts';

/** Work processes that the main process starts at the service's request. */
export interface UtilityProcessHost extends ProcessHost {
  /** The main process started one; its port leads to it. */
  started(workerId: string, pid: number | null, port: MessagePortLike): void;
  ended(workerId: string, exitCode: number | null, output: string): void;
}

/** A port whose process is gone closes by itself; this is for one that does not. */
const lastMessagesMs = 2000;

interface Worker {
  pid: number | undefined;
  port: MessagePortLike | null;
  /** Sent before the process ran. */
  unsent: unknown[];
  output: string;
  /** Null while it runs. */
  end: ProcessEnd | null;
  messageListeners: ((message: unknown) => void)[];
  endListeners: ((end: ProcessEnd) => void)[];
}

export function createUtilityProcessHost(send: (message: FromDesktopService) => void): UtilityProcessHost {
  const workers = new Map<string, Worker>();
  return {
    start() {
      const workerId = randomUUID();
      const worker: Worker = {
        pid: undefined,
        port: null,
        unsent: [],
        output: '',
        end: null,
        messageListeners: [],
        endListeners: [],
      };
      workers.set(workerId, worker);
      send({ type: 'start-worker', workerId });
      return handleOf(worker, () => send({ type: 'end-worker', workerId }));
    },
    started(workerId, pid, port) {
      const worker = workers.get(workerId);
      if (!worker) {
        port.close();
        return;
      }
      worker.pid = pid ?? undefined;
      worker.port = port;
      port.on('message', (event: unknown) => {
        const message = dataOf(event);
        for (const listener of worker.messageListeners) listener(message);
        const { type, isLast } = message as { type?: unknown; isLast?: unknown };
        // A process that is kept has more results to give.
        if (type === 'error' || (type === 'result' && isLast !== false)) port.postMessage({ type: 'end' });
      });
      port.on('close', () => {
        worker.port = null;
        finish(worker);
      });
      port.start();
      for (const message of worker.unsent.splice(0)) port.postMessage(message);
    },
    ended(workerId, exitCode, output) {
      const worker = workers.get(workerId);
      if (!worker) return;
      workers.delete(workerId);
      worker.output = output;
      worker.end = { exitCode, signal: null };
      // Its last messages travel on a port of their own, whose close comes behind them.
      if (worker.port) setTimeout(() => worker.port?.close(), lastMessagesMs).unref();
      finish(worker);
    },
  };
}

/** Tells the end once the process is gone and its port has said all. */
function finish(worker: Worker): void {
  if (worker.end === null || worker.port !== null) return;
  for (const listener of worker.endListeners.splice(0)) listener(worker.end);
}

function handleOf(worker: Worker, end: () => void): WorkProcess {
  return {
    get pid() {
      return worker.pid;
    },
    send(message) {
      if (worker.port) worker.port.postMessage(message);
      else worker.unsent.push(message);
    },
    onMessage(listener) {
      worker.messageListeners.push(listener);
    },
    onEnd(listener) {
      worker.endListeners.push(listener);
    },
    lastOutput: () => worker.output.trim(),
    kill: end,
  };
}
