import { toErrorPayload } from '../../contract/error-payload.ts';
import type { Job } from '../../contract/jobs.ts';
import type { JobRequest } from './job-requests.ts';
import type { KeptJobStore } from './kept-job-store.ts';

/** What the queue tells of its jobs, so that they outlive its process. A job that cannot be kept runs all the same. */
export interface JobKeeper {
  keep(job: Job, request: JobRequest): void;
  setBegun(jobId: string): void;
  remove(jobId: string): void;
  /** The process goes, its jobs stay. */
  release(): void;
}

/** Nothing outlives a command's process: what it was asked is in the shell. */
export const noKeeper: JobKeeper = { keep() {}, setBegun() {}, remove() {}, release() {} };

/** Keeps jobs in the store; what goes wrong is told once. */
export function jobKeeper(store: KeptJobStore, warn: (message: string) => void): JobKeeper {
  const attempt = (work: () => void) => {
    try {
      work();
    } catch (error) {
      warn(`jobs that wait would be lost with the program's end: ${toErrorPayload(error).message}`);
    }
  };
  return {
    keep: (job, request) => attempt(() => store.keep(job, request)),
    setBegun: (jobId) => attempt(() => store.setBegun(jobId)),
    remove: (jobId) => attempt(() => void store.remove(jobId)),
    release: () => attempt(() => store.release()),
  };
}
