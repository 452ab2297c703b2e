import { z } from 'zod';
import { identifierSchema, timeSchema } from './common.ts';
import { errorPayloadSchema } from './error-payload.ts';
import { jobKindSchema, jobSubjectSchema, jobTaskSchema } from './jobs.ts';
import { quantizeInputSchema } from './quantization.ts';

/**
 * A job that a studio had in its queue when it was closed or ended unexpectedly, and that waits for the person since: it is kept whole until it is started or dismissed. A
 * quantization whose work folder tells of it is none of these; `runs.unfinished` lists it.
 */
export const waitingJobSchema = z.object({
  jobId: identifierSchema,
  kind: jobKindSchema,
  tasks: z.array(jobTaskSchema).min(1),
  subject: jobSubjectSchema,
  /** When it was asked for. */
  createdAt: timeSchema,
  /** It was being worked on and left nothing to go on with: started, it does everything again. */
  hadBegun: z.boolean(),
  /** What keeps it from being started now: a model that is gone, an output that is taken. */
  problem: errorPayloadSchema.nullable(),
  /** What was asked of a quantization, from which another one can be asked for; null for other jobs, and where this version cannot read it. */
  request: quantizeInputSchema.nullable(),
});
export type WaitingJob = z.infer<typeof waitingJobSchema>;

const jobIdInput = z.strictObject({ jobId: identifierSchema });

export const waitingJobCalls = {
  /** In the order in which they waited. Those of another studio that is running on the same folder are not among them. */
  'waiting.list': { input: z.strictObject({}), output: z.object({ jobs: z.array(waitingJobSchema) }) },
  /** Puts it behind the jobs that wait now, under the id that it had. Throws what keeps it from being started; it goes on waiting then. */
  'waiting.start': {
    input: jobIdInput,
    output: z.object({ jobId: identifierSchema, runId: identifierSchema.nullable() }),
  },
  /** Forgets what was asked for. Nothing on disk but that is touched. */
  'waiting.dismiss': { input: jobIdInput, output: z.strictObject({}) },
};
