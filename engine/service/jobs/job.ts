import type { Job, JobKind, JobResult, JobSubject, JobTask } from '../../contract/jobs.ts';
import type { TurnOutcome, TurnTask } from '../turns.ts';
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
  /** Runs tasks side by side that work in turns (turns.ts): a benchmark beside other programs. */
  runInTurns(tasks: readonly TurnTask[]): Promise<TurnOutcome[]>;
  message(level: 'info' | 'warning', message: string): void;
  /** Says to which run of the history the job belongs, and what of its subject is known better by now. */
  setRun(runId: string, known: Pick<JobSubject, 'recipe' | 'activationBits'>): void;
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
  tasks: readonly JobTask[];
  /** The job pauses while the volume of what it writes, `output`, has too little room. */
  subject: JobSubject;
  run(context: JobContext): Promise<JobResult<K>>;
}

export type AnyJobDefinition = { [K in JobKind]: JobDefinition<K> }[JobKind];

/** The subject of a job that writes nothing. */
export function readOnlySubject(...models: [string, ...string[]]): JobSubject {
  return { models, recipe: null, activationBits: null, output: null };
}

export type JobOf<K extends JobKind> = Extract<Job, { kind: K }>;
