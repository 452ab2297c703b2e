import { existsSync } from 'node:fs';
import path from 'node:path';
import { calls, type ParsedCallInput } from '../../contract/calls.ts';
import { type ErrorPayload, parseAs, toErrorPayload } from '../../contract/error-payload.ts';
import { DBellError } from '../../contract/errors.ts';
import type { Job } from '../../contract/jobs.ts';
import type { WaitingJob } from '../../contract/waiting-jobs.ts';
import { withPathsChanged } from '../home-folder.ts';
import { outputOf, readRunFile, workFolderOf } from '../run-file.ts';
import type { AnyJobDefinition } from './job.ts';
import {
  defineJob,
  type JobCallName,
  type JobDefinitions,
  type JobRequest,
  jobCallNames,
} from './job-requests.ts';
import type { KeptJobStore, LeftJob } from './kept-job-store.ts';
import type { AddOptions, JobQueue } from './queue.ts';

/** Jobs that a process before this one had in its queue. */
export interface WaitingJobs {
  /** Those that wait for the person. */
  list(): WaitingJob[];
  /** Throws DBellError: what keeps it from being started, `not-found` where it waits no more. */
  start(jobId: string): Job;
  dismiss(jobId: string): void;
  /**
   * Puts back what the process before this one, of the same studio, had not begun when it died, or begun without a work folder: as it takes up quantizations that
   * were running. Those of `pausedJobs` begin paused. What cannot be put back waits for the person, with the reason.
   */
  restore(pausedJobs: readonly string[]): void;
}

/** Of a service that keeps nothing. */
export const noWaitingJobs: WaitingJobs = {
  list: () => [],
  start: throwUnknown,
  dismiss: throwUnknown,
  restore() {},
};

export interface WaitingJobsOptions {
  store: KeptJobStore;
  studioId: string;
  queue: JobQueue;
  definitions: JobDefinitions;
  /** Whether this download has begun and is listed as an unfinished one. */
  isUnfinishedDownload: (input: ParsedCallInput<'hub.download'>) => boolean;
  /** The list is another now. */
  changed: () => void;
  warn: (message: string) => void;
}

export function createWaitingJobs(options: WaitingJobsOptions): WaitingJobs {
  const { store, studioId, queue, definitions, isUnfinishedDownload, changed, warn } = options;

  /** Left jobs of which nothing else tells; the others are forgotten, since to start them twice would be a mistake. */
  const left = (): LeftJob[] =>
    store.left().filter((job) => {
      const { call, input } = job.request;
      const download = calls['hub.download'].input.safeParse(input);
      const isDownload = call === 'hub.download' && job.hasBegun && download.success;
      if (outputWithWork(job) === null && !(isDownload && isUnfinishedDownload(download.data))) return true;
      store.remove(job.jobId);
      return false;
    });
  const isInQueue = (output: string | null): boolean => output !== null && queue.writerOf(output) !== null;
  const define = (job: LeftJob): { request: JobRequest; definition: AnyJobDefinition } => {
    const request = requestOf(job);
    checkInputs(request);
    return { request, definition: defineJob(request, definitions) };
  };
  const problemOf = (job: LeftJob): ErrorPayload | null => {
    try {
      define(job);
      return null;
    } catch (error) {
      return toErrorPayload(error);
    }
  };
  const start = (
    job: LeftJob,
    place: 'own' | 'last',
    options: Pick<AddOptions, 'message' | 'beginsPaused'> = {},
  ): Job => {
    const { request, definition } = define(job);
    if (!store.take(job.jobId, place)) throwUnknown(job.jobId);
    try {
      const { jobId, createdAt } = job;
      return queue.add(definition, { ...options, request, restored: { jobId, createdAt } });
    } catch (error) {
      store.release(job.jobId);
      throw error;
    }
  };

  return {
    list: () =>
      left().map((job) => ({
        ...{ jobId: job.jobId, kind: job.kind, tasks: job.tasks, subject: job.subject },
        ...{ createdAt: job.createdAt, hadBegun: job.hasBegun, problem: problemOf(job) },
        request:
          job.request.call === 'quantize'
            ? (calls.quantize.input.safeParse(job.request.input).data ?? null)
            : null,
      })),
    start(jobId) {
      const found = left().find((job) => job.jobId === jobId);
      if (found === undefined) return throwUnknown(jobId);
      const job = start(found, 'last');
      changed();
      return job;
    },
    dismiss(jobId) {
      if (!store.left().some((job) => job.jobId === jobId) || !store.remove(jobId)) throwUnknown(jobId);
      changed();
    },
    restore(pausedJobs) {
      try {
        const before = store.left();
        if (before.length === 0) return;
        for (const job of before) {
          if (job.studioId !== studioId) continue;
          const output = outputWithWork(job);
          // A measurement that was under way has results to lose, a quantization without a work folder has none yet.
          if (job.hasBegun && output === null && job.request.call !== 'quantize') continue;
          if (isInQueue(output)) {
            // Its process could tell the supervisor of it before it died.
            store.remove(job.jobId);
            continue;
          }
          try {
            const beginsPaused = job.hasBegun && pausedJobs.includes(job.jobId);
            // Where this process dies among them, the next one finds all in their order.
            start(job, 'own', { message: restoredInWords(job, output !== null, beginsPaused), beginsPaused });
          } catch (error) {
            warn(
              `${job.kind} of ${job.subject.models[0]} waits for you in the list of runs; it could not be put back into the queue: ${toErrorPayload(error).message}`,
            );
          }
        }
        changed();
      } catch (error) {
        warn(`jobs that waited before cannot be read: ${toErrorPayload(error).message}`);
      }
    },
  };
}

/** What is said of a quantization that was under way, or paused, when the process before this one died. */
export function takenUpInWords(isPaused: boolean): string {
  return isPaused
    ? 'it was paused when the engine ended unexpectedly, and is paused again; continue it to go on'
    : 'it was being made when the engine ended unexpectedly, and goes on';
}

function restoredInWords({ hasBegun }: LeftJob, hasWork: boolean, isPaused: boolean): string {
  if (!hasBegun) return 'it waited when the engine ended unexpectedly, and was put back into the queue';
  return isPaused || hasWork
    ? takenUpInWords(isPaused)
    : 'it had just begun when the engine ended unexpectedly, with nothing written yet, and begins anew';
}

/** A request as it is kept: it must not depend on where the program is started the next time. */
export function keepableRequest<N extends JobCallName>(call: N, input: ParsedCallInput<N>): JobRequest<N> {
  const kept = withPathsChanged(calls[call].input, structuredClone(input), (given) => path.resolve(given));
  return { call, input: kept as ParsedCallInput<N> };
}

/** Checked anew: an older or newer version may have written it. */
function requestOf({ request: { call, input } }: LeftJob): JobRequest {
  const known = jobCallNames.find((name) => name === call);
  if (known === undefined)
    throw new DBellError(
      'invalid-input',
      `this version of DBell Studio knows no "${call}"; use the one that it was asked of, or dismiss it`,
    );
  return { call: known, input: parseAs(calls[known].input, input, call) } as JobRequest;
}

/** What is read must still be there. Throws DBellError `not-found`. */
function checkInputs({ call, input }: JobRequest): void {
  if (call === 'resume') return;
  const { out: _, ...read } = input as { out?: string };
  withPathsChanged(calls[call].input, read, (given) => {
    if (!existsSync(given))
      throw new DBellError('not-found', `${given} is not there any more; put it back, or dismiss this job`);
    return given;
  });
}

/** Output of a quantization that has begun, as its work folder tells: it is an unfinished run, and listed as such. Null: no such folder, or no such job. */
function outputWithWork({ hasBegun, request: { call, input } }: LeftJob): string | null {
  if (typeof input !== 'object' || input === null) return null;
  const { out, path: resumed } = input as { out?: unknown; path?: unknown };
  const output =
    call === 'resume' && typeof resumed === 'string'
      ? outputOf(resumed)
      : call === 'quantize' && hasBegun && typeof out === 'string'
        ? out
        : null;
  if (output === null) return null;
  try {
    return readRunFile(workFolderOf(output)) === null ? null : output;
  } catch {
    return null;
  }
}

function throwUnknown(jobId: string): never {
  throw new DBellError('not-found', `job ${jobId} waits no more: it was started or dismissed`);
}
