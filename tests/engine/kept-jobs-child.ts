/** A second process on a queue: node kept-jobs-child.ts FILE JOB_ID. Takes, lets go of and dismisses a job; prints what each answered as one JSON line. */
import { DBellError } from '../../engine/contract/errors.ts';
import { KeptJobStore } from '../../engine/service/jobs/kept-job-store.ts';

const [file, jobId] = process.argv.slice(2) as [string, string];
const store = new KeptJobStore(file, 'another', () => {});
const answer = (work: () => unknown) => {
  try {
    return work() ?? null;
  } catch (error) {
    return error instanceof DBellError ? { code: error.code, message: error.message } : String(error);
  }
};
console.log(
  JSON.stringify({
    left: answer(() => store.left().map((job) => job.jobId)),
    take: answer(() => store.take(jobId, 'last')),
    remove: answer(() => store.remove(jobId)),
  }),
);
