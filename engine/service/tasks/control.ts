import { channel } from 'node:diagnostics_channel';
import { DBellError } from '../../contract/errors.ts';
import type { TextStep } from '../../contract/generation.ts';
import type { JobProgress, JobTask, SentStage } from '../../contract/jobs.ts';
import { coalesce } from '../coalesce.ts';
import { serviceLimits } from '../limits.ts';
import type { FromWorkProcess, Report, TaskInput, TaskKind, TaskResult } from '../work-protocol.ts';

/** What a task gets besides its input: the flags to obey, and where to report. */
export interface TaskControl {
  paused(): boolean;
  stopRequested(): boolean;
  /** Throws DBellError `stopped` once a stop was requested; otherwise holds while paused. Lets the process hear its messages. */
  border(): Promise<void>;
  /** The same without throwing, for work whose part done so far is a result too. */
  pauseBorder(): Promise<void>;
  /** Says that it waits for its turn and returns when it has it. Throws DBellError `stopped` once a stop was requested. */
  turn(): Promise<void>;
  /** Coalesced: the newest of each interval is sent. `elapsedMs` and `rssBytes` are filled in. */
  progress(
    progress: Omit<JobProgress, 'elapsedMs' | 'rssBytes' | 'stage'> & {
      stage: SentStage;
      elapsedMs?: number;
    },
  ): void;
  /** Coalesced: joined with what the same interval brings. `steps` where the text is told token by token. */
  text(text: string, tokenIds: number[], steps?: TextStep[]): void;
  report(report: Exclude<Report, { type: 'progress' | 'text' | 'waiting' }>): void;
}

export type TaskFunction<K extends TaskKind> = (
  input: TaskInput<K>,
  control: TaskControl,
) => Promise<TaskResult<K>>;

/** What is emitted, before it is thinned out: for whoever measures how long it takes to a page. */
const emitted = channel('dbell:progress');

interface TaskControlOwner extends TaskControl {
  pause(): void;
  continue(): void;
  stop(): void;
  giveTurn(): void;
  flush(): void;
}

/** A rate that was measured over less than this says nothing about what remains. */
const minimumMeasuredMs = 1000;

/** A share of the work below this says nothing about the rest: files and tensors take unlike times. */
const leastFractionForEstimate = 0.05;

/** Milliseconds left of work of which `fraction` (0 … 1) took `elapsedMs`; null where too little is done to tell. */
export function remainingMsOf(elapsedMs: number, fraction: number): number | null {
  return fraction >= leastFractionForEstimate ? (elapsedMs / fraction) * (1 - fraction) : null;
}

/** What measures window by window reports after each: windows are alike, so the first already tells how long the rest takes. */
export function windowProgress(control: TaskControl, task: Extract<JobTask, 'perplexity' | 'quality'>) {
  const startedAt = performance.now();
  return ({ windowsDone, windowCount }: { windowsDone: number; windowCount: number }): void => {
    const elapsedMs = performance.now() - startedAt;
    control.progress({
      task,
      stage: task,
      fraction: windowsDone / windowCount,
      step: { index: windowsDone - 1, count: windowCount, unit: 'window' },
      item: null,
      relativeError: null,
      remainingMs: (elapsedMs / windowsDone) * (windowCount - windowsDone),
    });
  };
}

/** How often a paused task looks whether it may go on. */
const pausedPollMs = 50;

export function createTaskControl(send: (message: FromWorkProcess) => void): TaskControlOwner {
  const startedAt = performance.now();
  const parent = process.ppid;
  let paused = false;
  let stopped = false;
  let onTurn: (() => void) | null = null;
  const progress = coalesce<JobProgress>(
    serviceLimits.progressIntervalMs,
    (value) => send({ type: 'progress', progress: value }),
    undefined,
    serviceLimits.progressBurst,
  );
  const text = coalesce<{ text: string; tokenIds: number[]; steps?: TextStep[] }>(
    serviceLimits.textIntervalMs,
    (value) => send({ type: 'text', ...value }),
    (held, next) => ({
      text: held.text + next.text,
      tokenIds: [...held.tokenIds, ...next.tokenIds],
      ...(held.steps && next.steps ? { steps: [...held.steps, ...next.steps] } : {}),
    }),
  );
  /**
   * The channel's end is noticed only between two turns of the event loop, which long native calls hold up; the parent's number changes at
   * once when it dies (not on Windows).
   */
  const endIfOrphaned = () => {
    if (process.ppid !== parent) process.kill(process.pid, 'SIGKILL');
  };
  const pauseBorder = async () => {
    endIfOrphaned();
    await nextTurn();
    while (paused) await new Promise((resolve) => setTimeout(resolve, pausedPollMs));
  };
  const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));
  return {
    pause() {
      paused = true;
    },
    continue() {
      paused = false;
    },
    stop() {
      stopped = true;
      paused = false;
      onTurn?.();
    },
    giveTurn() {
      onTurn?.();
    },
    async turn() {
      endIfOrphaned();
      progress.flush();
      if (!stopped) {
        await new Promise<void>((resolve) => {
          onTurn = resolve;
          send({ type: 'waiting' });
        });
        onTurn = null;
      }
      if (stopped) throw new DBellError('stopped', 'stopped');
    },
    flush() {
      progress.flush();
      text.flush();
    },
    paused: () => paused,
    stopRequested() {
      endIfOrphaned();
      return stopped;
    },
    pauseBorder,
    async border() {
      await pauseBorder();
      if (stopped) throw new DBellError('stopped', 'stopped');
    },
    progress(value) {
      endIfOrphaned();
      const elapsedMs = performance.now() - startedAt;
      const complete = {
        elapsedMs,
        ...value,
        ...(elapsedMs < minimumMeasuredMs ? { remainingMs: null, remainingRangeMs: undefined } : {}),
        rssBytes: process.memoryUsage.rss(),
      };
      if (emitted.hasSubscribers) emitted.publish(complete);
      progress.push(complete);
    },
    text(piece, tokenIds, steps) {
      text.push({ text: piece, tokenIds, ...(steps ? { steps } : {}) });
    },
    report(report) {
      send(report);
    },
  };
}
