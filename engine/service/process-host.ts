import { type ChildProcess, fork } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** How a work process ended: one of the two is null. */
export interface ProcessEnd {
  exitCode: number | null;
  signal: string | null;
}

/** One running work process, whoever started it. */
export interface WorkProcess {
  readonly pid: number | undefined;
  /** Sends a structured-cloneable value; does nothing once the process has ended. */
  send(message: unknown): void;
  onMessage(listener: (message: unknown) => void): void;
  /** Called once, after the last message. */
  onEnd(listener: (end: ProcessEnd) => void): void;
  /** Last lines that the process wrote to its standard error, for messages about its death. */
  lastOutput(): string;
  /** Ends the process at once. */
  kill(): void;
}

/**
 * Starts work processes. In a command line or behind a WebSocket it is `child_process.fork`; inside Electron the main process forks a
 * utility process at the service's request.
 */
export interface ProcessHost {
  start(): WorkProcess;
}

/** Kept of a work process's standard error: enough for a stack trace or an allocator's last words. */
const keptOutputBytes = 8 * 1024;

const workProcessFile = path.join(path.dirname(fileURLToPath(import.meta.url)), 'work-process.ts');

/**
 * Work processes by `child_process.fork`. Their standard output never reaches ours (it may be a pipe that carries JSON); what they write to
 * standard error is kept for messages, and passed on where DBELL_DEBUG is set.
 */
export const childProcessHost: ProcessHost = {
  start() {
    const child = fork(workProcessFile, [], {
      // Flags of this process (a test runner's, a debugger's) are none of the work process's business.
      execArgv: [],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      serialization: 'advanced',
    });
    return wrapChild(child);
  },
};

function wrapChild(child: ChildProcess): WorkProcess {
  let output = '';
  const keep = (chunk: Buffer) => {
    output = (output + chunk.toString('utf8')).slice(-keptOutputBytes);
    if (process.env.DBELL_DEBUG) process.stderr.write(chunk);
  };
  child.stdout?.on('data', keep);
  child.stderr?.on('data', keep);
  let ended = false;
  const endListeners: ((end: ProcessEnd) => void)[] = [];
  const end = (exitCode: number | null, signal: string | null) => {
    if (ended) return;
    ended = true;
    for (const listener of endListeners) listener({ exitCode, signal });
  };
  // `close` comes after the pipes and the channel are drained, so that no message is lost.
  child.on('close', end);
  child.on('error', (error) => {
    output += `\n${error.message}`;
    // A process that could not be started has no pid and never closes.
    if (child.pid === undefined) end(null, null);
  });
  return {
    pid: child.pid,
    send(message) {
      if (ended || !child.connected) return;
      // The callback takes the error of a channel that breaks while sending; the end of the process tells the rest.
      child.send(message as object, () => {});
    },
    onMessage(listener) {
      child.on('message', listener);
    },
    onEnd(listener) {
      endListeners.push(listener);
    },
    lastOutput: () => output.trim(),
    kill() {
      child.kill('SIGKILL');
    },
  };
}
