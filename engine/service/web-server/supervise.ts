import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { fromErrorPayload, parseAs } from '../../contract/error-payload.ts';
import { DBellError } from '../../contract/errors.ts';
import type { UnfinishedJob } from '../recovery.ts';
import { RestartPolicy } from '../restart-policy.ts';
import { fromWebProcessSchema, type ToWebProcess } from './web-process-protocol.ts';

const webProcessFile = path.join(path.dirname(fileURLToPath(import.meta.url)), 'web-process.ts');

export interface SupervisorOptions {
  home: string;
  pageFolder: string;
  host?: string;
  /** 0 = any free one; a restart keeps it. */
  port?: number;
  /** The service's process ended by itself and is being started again, or is given up. */
  onRestart?: (reason: string) => void;
  onGivenUp?: (reason: string) => void;
}

export interface SupervisedWebService {
  readonly origin: string;
  /** Of the service's process now. */
  pid(): number | undefined;
  /** An address that lets one browser in, once. */
  createAddress(): Promise<string>;
  /** Stops all jobs (they stay resumable) and ends the service. */
  close(): Promise<void>;
}

/**
 * Browser mode's service in a process of its own. If it dies, it is started again on the same port with the same session key, so that open pages
 * come back by themselves, takes up the quantizations that were running, and keeps the queue.
 */
export async function superviseWebService(options: SupervisorOptions): Promise<SupervisedWebService> {
  const { home, pageFolder, host = '127.0.0.1', onRestart, onGivenUp } = options;
  const studioId = randomUUID();
  const sessionKey = randomBytes(32).toString('base64');
  const policy = new RestartPolicy();
  let unfinished: UnfinishedJob[] = [];
  const tokenWaiters: ((token: string) => void)[] = [];
  let closing = false;
  let port = options.port ?? 0;
  let origin = '';
  let child: ChildProcess;

  const start = (resume: UnfinishedJob[]): Promise<void> =>
    new Promise((resolve, reject) => {
      const started = fork(webProcessFile, [], {
        execArgv: [],
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
        serialization: 'advanced',
      });
      child = started;
      started.on('message', (raw) => {
        const message = parseAs(fromWebProcessSchema, raw, 'message of the service process', 'internal');
        if (message.type === 'listening') {
          ({ port, origin } = message);
          // Asked of the process before, which died over it.
          for (const _ of tokenWaiters) send({ type: 'create-token' });
          resolve();
        } else if (message.type === 'token') tokenWaiters.shift()?.(message.token);
        else if (message.type === 'unfinished') unfinished = message.jobs;
        else {
          reject(fromErrorPayload(message.error));
          started.kill('SIGKILL');
        }
      });
      started.on('error', reject);
      started.on('exit', (code, signal) => {
        reject(new DBellError('worker-died', `the service process ended with ${signal ?? `code ${code}`}`));
        if (!closing && origin !== '') restart(signal ?? `exit code ${code}`);
      });
      send({ type: 'start', home, studioId, pageFolder, host, port, sessionKey, resume });
    });

  const restart = (reason: string) => {
    const waitMs = policy.next();
    if (waitMs === null) {
      onGivenUp?.(reason);
      return;
    }
    onRestart?.(reason);
    setTimeout(() => {
      // What cannot be started is an end like any other and is judged by the policy.
      if (!closing) start(unfinished).catch(() => {});
    }, waitMs);
  };
  const send = (message: ToWebProcess) => {
    if (child.connected) child.send(message, () => {});
  };

  await start([]);
  return {
    origin,
    pid: () => child.pid,
    async createAddress() {
      const token = await new Promise<string>((resolve) => {
        tokenWaiters.push(resolve);
        send({ type: 'create-token' });
      });
      return `${origin}/#token=${token}`;
    },
    async close() {
      closing = true;
      if (child.exitCode !== null || child.signalCode !== null) return;
      await new Promise<void>((resolve) => {
        child.once('exit', () => resolve());
        send({ type: 'close' });
      });
    },
  };
}
