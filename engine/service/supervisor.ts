import { fromErrorPayload, parseAs } from '../contract/error-payload.ts';
import { DBellError } from '../contract/errors.ts';
import { type AttachableProcess, startProcess } from './kept-process.ts';
import { serviceLimits } from './limits.ts';
import type { ProcessEnd, ProcessHost } from './process-host.ts';
import {
  fromWorkProcessSchema,
  type Report,
  type TaskInput,
  type TaskKind,
  type TaskResult,
  type ToWorkProcess,
  taskSchemas,
} from './work-protocol.ts';

/** A task in its work process, seen from the service. */
export interface RunningTask<K extends TaskKind> {
  readonly pid: number | undefined;
  /**
   * The checked result. Throws the task's own DBellError, `stopped` after `stop`, or `worker-died` where the process ended without a word.
   */
  readonly done: Promise<TaskResult<K>>;
  pause(): void;
  continue(): void;
  /** Lets a task go on that reported that it waits for its turn. */
  giveTurn(): void;
  /** Raises the flag; the process has `stopGraceMs` to come to a border, then it is ended. */
  stop(): void;
  /** Ends the process at once. */
  kill(): void;
}

/** How a task's process lives beyond the task. */
export interface ProcessReuse {
  /** A process that was kept; by default a fresh one is started. */
  process?: AttachableProcess;
  /** Gets the process when the task has given its result; without it the process ends. */
  keep: (process: AttachableProcess) => void;
}

/**
 * Starts a work process for one task and watches over it to its end. A process that is to be kept, and ends well, goes to `reuse.keep` instead; one that fails ends.
 */
export function startTask<K extends TaskKind>(
  host: ProcessHost,
  task: K,
  input: TaskInput<K>,
  onReport: (report: Report) => void = () => {},
  reuse?: ProcessReuse,
): RunningTask<K> {
  const worker = reuse?.process ?? startProcess(host);
  let stopping = false;
  let killTimer: NodeJS.Timeout | undefined;
  const send = (message: ToWorkProcess) => worker.send(message);

  const done = new Promise<TaskResult<K>>((resolve, reject) => {
    /** What the task ended with; delivered when the process is gone, so that its files and memory are free by then. */
    let outcome: { result: TaskResult<K> } | { error: unknown } | null = null;
    const onMessage = (raw: unknown) => {
      try {
        const message = parseAs(fromWorkProcessSchema, raw, 'message of the work process', 'internal');
        if (message.type === 'result') {
          const result = parseAs(taskSchemas[task].result, message.result, `result of ${task}`, 'internal');
          outcome = { result: result as TaskResult<K> };
          if (reuse === undefined || message.isLast || stopping) return;
          clearTimeout(killTimer);
          reuse.keep(worker);
          resolve(outcome.result);
        } else if (message.type === 'error') outcome = { error: fromErrorPayload(message.error) };
        else onReport(message);
      } catch (error) {
        outcome = { error };
        worker.kill();
      }
    };
    const onEnd = (end: ProcessEnd) => {
      clearTimeout(killTimer);
      if (outcome && 'result' in outcome) resolve(outcome.result);
      else if (outcome) reject(outcome.error);
      else if (stopping) reject(new DBellError('stopped', 'stopped'));
      else reject(deathOf(worker.pid, end, worker.lastOutput()));
    };
    worker.attach({ onMessage, onEnd });
  });
  // Whoever started the task awaits `done` sooner or later; until then a rejection is not unhandled.
  done.catch(() => {});
  send({ type: 'run', task, input, keep: reuse !== undefined });
  return {
    pid: worker.pid,
    done,
    pause: () => send({ type: 'pause' }),
    continue: () => send({ type: 'continue' }),
    giveTurn: () => send({ type: 'turn' }),
    stop() {
      if (stopping) return;
      stopping = true;
      // A paused task must go on to see the flag.
      send({ type: 'stop' });
      killTimer = setTimeout(() => worker.kill(), serviceLimits.stopGraceMs);
    },
    kill() {
      stopping = true;
      worker.kill();
    },
  };
}

/** An uncaught error's own line, which stands before its stack and causes; else the last lines. */
function tellingLines(output: string): string {
  const lines = output.split('\n');
  const thrown = lines.findLast((line) => /^(?:[A-Z]\w*)?Error\b.*: /.test(line));
  return thrown ?? lines.slice(-5).join(' | ');
}

/** The error for a work process that ended without a result. */
function deathOf(pid: number | undefined, end: ProcessEnd, output: string): DBellError {
  if (pid === undefined) {
    return new DBellError('worker-died', `the work process could not be started: ${output}`);
  }
  const how = end.signal === null ? `with exit code ${end.exitCode}` : `by signal ${end.signal}`;
  const why =
    end.signal === 'SIGKILL'
      ? ' (somebody ended it, or the system did for want of memory)'
      : end.signal === 'SIGSEGV' || end.signal === 'SIGABRT' || end.signal === 'SIGILL'
        ? ' (a defect in native code)'
        : '';
  const last = output === '' ? '' : `; its last output: ${tellingLines(output)}`;
  return new DBellError('worker-died', `the work process ${pid} ended ${how}${why}${last}`);
}
