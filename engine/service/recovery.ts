import { z } from 'zod';
import { identifierSchema, pathSchema } from '../contract/common.ts';
import type { Service } from './service.ts';

/** A job that ends unfinished where its service dies, as far as its successor has to know it. */
export const unfinishedJobSchema = z.strictObject({
  jobId: identifierSchema,
  /** Where a quantization can be taken up; null: nowhere yet, then it is in the kept queue. */
  path: pathSchema.nullable(),
  /** By a person, who is to continue it. */
  isPaused: z.boolean(),
});
export type UnfinishedJob = z.infer<typeof unfinishedJobSchema>;

/**
 * Supervision across an unexpected end of the service's own process: it tells its supervisor which outputs are being worked on and what is paused, and its successor
 * takes them up again.
 */
export function watchUnfinished(service: Service, tell: (jobs: UnfinishedJob[]) => void): void {
  const running = new Map<string, UnfinishedJob>();
  let told = '';
  service.onEvent((event) => {
    if (event.type !== 'job-state') return;
    const { jobId, state, hold, resumable } = event.job;
    // One that holds for want of room on the disk goes on by itself.
    const isPaused = state === 'paused' && hold === null;
    const isOver = state === 'finished' || state === 'failed' || state === 'stopped';
    if (isOver || state === 'stopping' || (resumable === null && !isPaused)) running.delete(jobId);
    else running.set(jobId, { jobId, path: resumable?.path ?? null, isPaused });
    const jobs = [...running.values()];
    const next = JSON.stringify(jobs);
    if (next === told) return;
    told = next;
    tell(jobs);
  });
}

/**
 * Takes up what the process before left: what was running first, then its queue. What was paused is paused again. What cannot be taken up stays in the history as
 * interrupted, or waits for the person.
 */
export function takeUpUnfinished(service: Service, jobs: readonly UnfinishedJob[]): void {
  const taken = new Set<string>();
  for (const { path, isPaused } of jobs) {
    if (path === null || taken.has(path)) continue;
    taken.add(path);
    service.takeUp(path, isPaused);
  }
  service.restoreQueue(jobs.filter(({ isPaused }) => isPaused).map(({ jobId }) => jobId));
}
