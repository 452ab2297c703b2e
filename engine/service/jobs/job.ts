import type { Job, JobKind, JobResult } from '../../contract/jobs.ts';
import type { AcceptedReport, TaskInput, TaskKind, TaskResult } from '../work-protocol.ts';

/** What the composition of a job may do. Everything long happens in tasks. */
export interface JobContext {
  readonly jobId: string;
  /**
   * Runs a task in a fresh work process; its reports become the job's events. Throws what the task throws. `onAccepted` hears that a quantization
   * holds its output.
   */
  runTask<K extends TaskKind>(
    task: K,
    input: TaskInput<K>,
    onAccepted?: (report: AcceptedReport) => void,
  ): Promise<TaskResult<K>>;
  message(level: 'info' | 'warning', message: string): void;
  /** Says to which run of the history the job belongs. */
  setRun(runId: string): void;
  /** Says that the work can be taken up again from there, whatever ends the job. */
  setResumable(path: string | null): void;
}

/** `work` takes the machine, one job at a time; `transfer` waits for the network beside it. */
export type Lane = 'work' | 'transfer';

/** One kind of job: its work from start to result. */
export interface JobDefinition<K extends JobKind = JobKind> {
  kind: K;
  runId: string | null;
  /** By default `work`. */
  lane?: Lane;
  subject?: string;
  /** What the job writes much to; it pauses while that volume has too little room. */
  output?: string;
  run(context: JobContext): Promise<JobResult<K>>;
}

export type JobOf<K extends JobKind> = Extract<Job, { kind: K }>;
