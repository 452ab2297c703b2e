import { randomUUID } from 'node:crypto';
import type { MessagePortMain, UtilityProcess } from 'electron';
import { parseAs, toErrorPayload } from '../../engine/contract/error-payload.ts';
import { type ToComputingWorker, toMainSchema } from '../../engine/service/desktop/compute-protocol.ts';
import {
  type Activity,
  type FromDesktopService,
  fromDesktopServiceSchema,
  type ToDesktopService,
} from '../../engine/service/desktop/desktop-protocol.ts';
import type { UnfinishedJob } from '../../engine/service/recovery.ts';
import { RestartPolicy } from '../../engine/service/restart-policy.ts';
import type { ElectronApi } from './electron-api.ts';

/** Kept of a process's standard error: enough for a stack trace or an allocator's last words. */
const keptOutputBytes = 8 * 1024;

/** Longest wait for the service's end when quitting: its jobs have five seconds to come to a border. */
const closeMs = 8000;

export interface ServiceHostOptions {
  electron: Pick<ElectronApi, 'utilityProcess' | 'MessageChannelMain'>;
  home: string;
  /** Entries of the two kinds of processes, absolute. */
  serviceEntry: string;
  workerEntry: string;
  /** A port to a new hidden window that computes on a GPU, and its end. */
  openCompute(): Promise<{ port: MessagePortMain; close(): void }>;
  onActivity(activity: Activity): void;
  onJobEnded(message: Extract<FromDesktopService, { type: 'job-ended' }>): void;
  /** The service died and is started again; every window's port is dead. */
  onRestart(): void;
  onGivenUp(lastOutput: string): void;
}

/** The service and its work processes, as utility processes under the main process's eyes. */
export interface ServiceHost {
  /** A port that speaks the contract; null while the service is not there. */
  connect(): MessagePortMain | null;
  /** Tells the service, and every one after it, the Hugging Face token. */
  setHubToken(token: string | null): void;
  /** Stops all jobs (they stay resumable) and ends every process. */
  close(): Promise<void>;
}

/**
 * Starts the service and restarts it if it dies; its successor takes up the quantizations that were running and keeps the queue. Work processes belong to the service that
 * asked for them and end with it.
 */
export function startServiceHost(options: ServiceHostOptions): ServiceHost {
  const { electron, home, serviceEntry, workerEntry } = options;
  const studioId = randomUUID();
  const policy = new RestartPolicy();
  const workers = new Map<string, UtilityProcess>();
  let service: UtilityProcess | null = null;
  let unfinished: UnfinishedJob[] = [];
  let isReady = false;
  let closing: (() => void) | null = null;
  let hubToken: string | null = null;

  const fork = (entry: string, name: string): { child: UtilityProcess; output: () => string } => {
    const child = electron.utilityProcess.fork(entry, [], {
      serviceName: name,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    const keep = (chunk: Buffer) => {
      output = (output + chunk.toString('utf8')).slice(-keptOutputBytes);
    };
    child.stdout?.on('data', keep);
    child.stderr?.on('data', keep);
    return { child, output: () => output };
  };

  const start = (resume: UnfinishedJob[]) => {
    const { child, output } = fork(serviceEntry, 'DBell Studio engine');
    service = child;
    const send = (message: ToDesktopService, ports?: MessagePortMain[]) => child.postMessage(message, ports);
    child.on('message', (raw: unknown) => {
      const message = parseAs(fromDesktopServiceSchema, raw, 'message of the service', 'internal');
      switch (message.type) {
        case 'ready':
          isReady = true;
          break;
        case 'start-worker':
          startWorker(message.workerId, send);
          break;
        case 'end-worker':
          endWorker(workers.get(message.workerId));
          break;
        case 'unfinished':
          unfinished = message.jobs;
          break;
        case 'activity':
          options.onActivity(message.activity);
          break;
        case 'job-ended':
          options.onJobEnded(message);
          break;
        case 'closed':
          closing?.();
          break;
      }
    });
    child.on('exit', () => {
      service = null;
      isReady = false;
      for (const worker of workers.values()) endWorker(worker);
      workers.clear();
      if (closing) closing();
      else restart(output());
    });
    send({ type: 'start', home, studioId, resume });
    if (hubToken !== null) send({ type: 'hub-token', token: hubToken });
  };

  const startWorker = (
    workerId: string,
    send: (message: ToDesktopService, ports?: MessagePortMain[]) => void,
  ) => {
    const { child, output } = fork(workerEntry, 'DBell Studio work');
    workers.set(workerId, child);
    const { port1, port2 } = new electron.MessageChannelMain();
    child.postMessage({ type: 'port' }, [port2]);
    let isStarted = false;
    const started = (pid: number | null) => {
      if (isStarted) return;
      isStarted = true;
      send({ type: 'worker-started', workerId, pid }, [port1]);
    };
    let closeCompute: (() => void) | null = null;
    child.on('message', (raw: unknown) => {
      parseAs(toMainSchema, raw, 'message of a work process', 'internal');
      options.openCompute().then(
        ({ port, close }) => {
          // It may have ended while the window opened.
          if (workers.get(workerId) !== child) close();
          else {
            closeCompute = close;
            child.postMessage({ type: 'compute-port' } satisfies ToComputingWorker, [port]);
          }
        },
        (error) => {
          const message = { type: 'no-compute', error: toErrorPayload(error) } satisfies ToComputingWorker;
          child.postMessage(message);
        },
      );
    });
    child.on('spawn', () => started(child.pid ?? null));
    child.on('exit', (exitCode) => {
      closeCompute?.();
      if (!workers.delete(workerId)) return;
      // One that could not be started never spawned.
      started(null);
      send({ type: 'worker-ended', workerId, exitCode, output: output() });
    });
  };

  const restart = (lastOutput: string) => {
    options.onActivity({ openJobs: 0, working: false, fraction: null });
    const waitMs = policy.next();
    if (waitMs === null) {
      options.onGivenUp(lastOutput);
      return;
    }
    options.onRestart();
    setTimeout(() => {
      if (!closing) start(unfinished);
    }, waitMs);
  };

  start([]);
  return {
    connect() {
      if (service === null || !isReady) return null;
      const { port1, port2 } = new electron.MessageChannelMain();
      service.postMessage({ type: 'client' } satisfies ToDesktopService, [port1]);
      return port2;
    },
    setHubToken(token) {
      hubToken = token;
      service?.postMessage({ type: 'hub-token', token } satisfies ToDesktopService);
    },
    close() {
      return new Promise((resolve) => {
        const timer = setTimeout(() => closing?.(), closeMs);
        closing = () => {
          clearTimeout(timer);
          for (const worker of workers.values()) endWorker(worker);
          endWorker(service ?? undefined);
          resolve();
        };
        if (service === null) closing();
        else service.postMessage({ type: 'close' } satisfies ToDesktopService);
      });
    },
  };
}

/** At once: what native code is in the middle of does not hear a polite request. */
function endWorker(child: UtilityProcess | undefined): void {
  if (child === undefined) return;
  if (child.pid === undefined) child.kill();
  else {
    try {
      process.kill(child.pid, 'SIGKILL');
    } catch {
      // It ended in this moment.
    }
  }
}
