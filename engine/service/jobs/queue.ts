import { randomUUID } from 'node:crypto';
import { toErrorPayload } from '../../contract/error-payload.ts';
import { DBellError } from '../../contract/errors.ts';
import type { ServiceEvent } from '../../contract/events.ts';
import type { Job, JobDetails, JobHold } from '../../contract/jobs.ts';
import { formatBytes } from '../../contract/number-format.ts';
import { KeptProcess } from '../kept-process.ts';
import { serviceLimits } from '../limits.ts';
import type { ProcessHost } from '../process-host.ts';
import { type RunningTask, startTask } from '../supervisor.ts';
import { TurnGroup } from '../turns.ts';
import {
  type AcceptedReport,
  loadedModelKey,
  type TaskInput,
  type TaskKind,
  type TaskResult,
} from '../work-protocol.ts';
import { watchDisk } from './disk-watch.ts';
import type { AnyJobDefinition, JobContext, Lane } from './job.ts';
import type { JobRequest } from './job-requests.ts';
import { type JobKeeper, noKeeper } from './kept-jobs.ts';
import { type Told, tellReports } from './tell-reports.ts';

interface Entry {
  job: Job;
  /** What its events told, for those who come later. */
  told: Told;
  definition: AnyJobDefinition;
  task: Pick<RunningTask<TaskKind>, 'pause' | 'continue' | 'stop' | 'kill'> | null;
  lane: Lane;
  beginsPaused: boolean;
  stopRequested: boolean;
  /** It ends only since its process does: it is kept for the next one. */
  isKept: boolean;
  ended: Promise<void>;
  end: () => void;
}

export interface AddOptions {
  /** What was asked for; a job without it ends with the process. */
  request?: JobRequest;
  /** A job that was kept. */
  restored?: Pick<Job, 'jobId' | 'createdAt'>;
  /** What to say of it to begin with. */
  message?: string;
  /** Once it is its turn it waits for the person to continue it. */
  beginsPaused?: boolean;
}

const finalStates: readonly Job['state'][] = ['finished', 'failed', 'stopped'];

const lanes: readonly Lane[] = ['work', 'transfer'];

/**
 * Runs jobs one after another: each wants all cores and its memory to itself, and a benchmark beside other work measures nothing. Transfers wait for the network
 * beside them, and hold while a benchmark is timed.
 */
export class JobQueue {
  readonly #host: ProcessHost;
  readonly #emit: (event: ServiceEvent) => void;
  readonly #entries = new Map<string, Entry>();
  readonly #kept = new KeptProcess(serviceLimits.keptModelMs);
  readonly #diskFloorBytes: () => number;
  readonly #keeper: JobKeeper;
  readonly #running = new Map<Lane, Entry>();
  /** A benchmark is being timed. */
  #isTiming = false;
  #closed = false;

  /** `diskFloorBytes`: what jobs leave free where they write; without it nothing is watched. `keeper`: outlives the queue. */
  constructor(
    host: ProcessHost,
    emit: (event: ServiceEvent) => void,
    {
      diskFloorBytes = () => 0,
      keeper = noKeeper,
    }: { diskFloorBytes?: () => number; keeper?: JobKeeper } = {},
  ) {
    this.#host = host;
    this.#keeper = keeper;
    this.#diskFloorBytes = diskFloorBytes;
    this.#emit = emit;
  }

  add(
    definition: AnyJobDefinition,
    { request, restored, message, beginsPaused = false }: AddOptions = {},
  ): Job {
    if (this.#closed) throw new DBellError('stopped', 'the service is closing and takes no more jobs');
    this.#checkRoom();
    this.#checkOutput(definition);
    const base = {
      jobId: restored?.jobId ?? randomUUID(),
      runId: definition.runId,
      tasks: [...definition.tasks],
      subject: structuredClone(definition.subject),
      state: 'queued' as const,
      hold: null,
      createdAt: restored?.createdAt ?? new Date().toISOString(),
      startedAt: null,
      endedAt: null,
      progress: null,
      error: null,
      resumable: null,
      result: null,
    };
    const job = { kind: definition.kind, ...base } as Job;
    const { promise, resolve } = Promise.withResolvers<void>();
    const messages = message ? [{ level: 'info' as const, message }] : [];
    const entry: Entry = {
      job,
      told: { layers: [], messages, text: '', steps: [] },
      definition,
      task: null,
      lane: definition.lane ?? 'work',
      beginsPaused,
      stopRequested: false,
      isKept: false,
      ended: promise,
      end: resolve,
    };
    // Before anybody is told that it waits.
    if (request !== undefined && restored === undefined) this.#keeper.keep(job, request);
    this.#entries.set(job.jobId, entry);
    this.#forgetOldest();
    this.#changed(entry);
    // Started in a later turn, so that the caller learns the job's id before its first event.
    setImmediate(() => this.#next());
    return structuredClone(job);
  }

  list(): Job[] {
    return [...this.#entries.values()].map((entry) => structuredClone(entry.job));
  }

  get(jobId: string): Job {
    return structuredClone(this.#find(jobId).job);
  }

  details(jobId: string): JobDetails {
    const { job, told } = this.#find(jobId);
    return structuredClone({ job, ...told });
  }

  async wait(jobId: string): Promise<Job> {
    const entry = this.#find(jobId);
    await entry.ended;
    return structuredClone(entry.job);
  }

  pause(jobId: string): Job {
    const entry = this.#find(jobId);
    this.#require(entry, ['running'], 'paused');
    entry.job.state = 'paused';
    entry.task?.pause();
    this.#changed(entry);
    return this.get(jobId);
  }

  continue(jobId: string): Job {
    const entry = this.#find(jobId);
    this.#require(entry, ['paused'], 'continued');
    if (entry.job.hold !== null)
      throw new DBellError('invalid-input', `${holdInWords(entry.job.hold)}; it cannot be continued before`);
    entry.job.state = 'running';
    if (!this.#isHeld(entry)) entry.task?.continue();
    this.#changed(entry);
    return this.get(jobId);
  }

  /** Stopping what has ended or is stopping already changes nothing. */
  stop(jobId: string): Job {
    const entry = this.#find(jobId);
    if (entry.job.state === 'queued') {
      this.#finish(entry, 'stopped', () => {
        entry.job.error = { code: 'stopped', message: 'stopped before it started' };
      });
    } else if (entry.job.state === 'running' || entry.job.state === 'paused') {
      entry.stopRequested = true;
      entry.job.state = 'stopping';
      entry.job.hold = null;
      entry.task?.stop();
      this.#changed(entry);
    }
    return this.get(jobId);
  }

  /** Stops everything and resolves when no work process is left. */
  async close(): Promise<void> {
    this.#closed = true;
    const entries = [...this.#entries.values()].filter(({ job }) => !finalStates.includes(job.state));
    for (const entry of entries) {
      // What a person is stopping is not to come back.
      entry.isKept = entry.job.state !== 'stopping';
      this.stop(entry.job.jobId);
    }
    await Promise.all(entries.map((entry) => entry.ended));
    this.#keeper.release();
    await this.#kept.end();
  }

  /** Ends every work process at once, for a service that must go now. */
  terminate(): void {
    this.#closed = true;
    for (const entry of this.#entries.values()) {
      entry.isKept = entry.job.state !== 'stopping';
      entry.task?.kill();
    }
    void this.#kept.end();
  }

  /** The job that runs or waits and makes the package at `output`; null where none does. */
  writerOf(output: string): Job | null {
    const found = [...this.#entries.values()].find(
      ({ job }) => job.kind === 'quantize' && job.endedAt === null && job.subject.output === output,
    );
    return found?.job ?? null;
  }

  #checkRoom(): void {
    const waiting = [...this.#entries.values()].filter(({ job }) => job.state === 'queued').length;
    if (waiting >= serviceLimits.queuedJobs)
      throw new DBellError(
        'invalid-input',
        `${waiting} jobs wait already, which is the most that may; stop some of them, or wait until some are done`,
      );
  }

  /** Two jobs that write the same package would end with the second one's failure, when nobody looks any more. */
  #checkOutput({ kind, subject: { output } }: AnyJobDefinition): void {
    if (kind !== 'quantize' || output === null) return;
    const other = this.writerOf(output);
    if (other !== null)
      throw new DBellError(
        'output-exists',
        `${output} is what a job makes that ${other.state === 'queued' ? 'waits in the queue' : 'is under way'}; choose another output, or stop that job`,
      );
  }

  #find(jobId: string): Entry {
    const entry = this.#entries.get(jobId);
    if (!entry) throw new DBellError('not-found', `there is no job ${jobId}`);
    return entry;
  }

  #require(entry: Entry, states: Job['state'][], what: string): void {
    if (!states.includes(entry.job.state)) {
      throw new DBellError(
        'invalid-input',
        `job ${entry.job.jobId} is ${entry.job.state} and cannot be ${what}`,
      );
    }
  }

  #changed(entry: Entry): void {
    this.#emit({ type: 'job-state', job: structuredClone(entry.job) });
  }

  #next(): void {
    for (const lane of lanes) {
      if (this.#running.has(lane)) continue;
      const entry = [...this.#entries.values()].find(
        (candidate) => candidate.lane === lane && candidate.job.state === 'queued',
      );
      if (!entry) continue;
      this.#running.set(lane, entry);
      void this.#run(entry);
    }
  }

  /** A paused transfer, or one that holds for a benchmark. */
  #isHeld({ job, lane }: Entry): boolean {
    return job.state === 'paused' || (lane === 'transfer' && this.#isTiming);
  }

  /** Keeps transfers still while a benchmark is timed: network and disk would be measured along with it. */
  #setTiming(isTiming: boolean): void {
    this.#isTiming = isTiming;
    const transfer = this.#running.get('transfer');
    if (!transfer?.task || transfer.job.state !== 'running') return;
    if (isTiming) transfer.task.pause();
    else transfer.task.continue();
  }

  async #run(entry: Entry): Promise<void> {
    const { job } = entry;
    this.#keeper.setBegun(job.jobId);
    job.state = entry.beginsPaused ? 'paused' : 'running';
    job.startedAt = new Date().toISOString();
    this.#changed(entry);
    const context = this.#context(entry);
    const endWatch = this.#watchDisk(entry, context.message);
    try {
      const result = await entry.definition.run(context);
      this.#finish(entry, 'finished', () => Object.assign(job, { result }));
    } catch (error) {
      const payload = toErrorPayload(error);
      this.#finish(entry, payload.code === 'stopped' ? 'stopped' : 'failed', () => {
        job.error = payload;
      });
    } finally {
      endWatch();
    }
  }

  /** Pauses a job that writes while its volume has too little room, and lets it go on when there is room again. */
  #watchDisk(entry: Entry, message: JobContext['message']): () => void {
    const { job } = entry;
    const { output } = job.subject;
    if (output === null) return () => {};
    return watchDisk({
      output,
      floorBytes: this.#diskFloorBytes,
      onShort: (hold) => {
        if (job.state !== 'running' && job.hold === null) return;
        if (job.hold === null) {
          message('warning', holdInWords(hold));
          job.state = 'paused';
          entry.task?.pause();
        }
        job.hold = hold;
        this.#changed(entry);
      },
      onRoom: () => {
        if (job.hold === null) return;
        job.hold = null;
        job.state = 'running';
        if (!this.#isHeld(entry)) entry.task?.continue();
        message('info', `there is room again where ${output} is written; the work goes on`);
        this.#changed(entry);
      },
    });
  }

  #finish(entry: Entry, state: Job['state'], change: () => void): void {
    change();
    entry.job.hold = null;
    entry.job.state = state;
    entry.job.endedAt = new Date().toISOString();
    if (this.#running.get(entry.lane) === entry) this.#running.delete(entry.lane);
    if (state === 'finished' || !entry.isKept) this.#keeper.remove(entry.job.jobId);
    this.#changed(entry);
    entry.end();
    setImmediate(() => this.#next());
  }

  #context(entry: Entry): JobContext {
    const { job, told } = entry;
    const { message, onReport, flush } = tellReports(job, told, this.#emit);
    /** The end of what the job does now, which can be paused and stopped meanwhile. */
    const work = async <T>(
      task: NonNullable<Entry['task']>,
      isTimed: boolean,
      run: () => Promise<T>,
    ): Promise<T> => {
      entry.task = task;
      // Paused between two tasks: the new one starts paused.
      if (this.#isHeld(entry)) task.pause();
      if (isTimed) this.#setTiming(true);
      try {
        return await run();
      } finally {
        // How far it came is told before what follows from its end.
        flush();
        if (isTimed) this.#setTiming(false);
        entry.task = null;
      }
    };
    const runTask = async <K extends TaskKind>(
      task: K,
      input: TaskInput<K>,
      onAccepted?: (report: AcceptedReport) => void,
    ): Promise<TaskResult<K>> => {
      if (entry.stopRequested) throw new DBellError('stopped', 'stopped');
      const key = keptKey(input);
      // A transfer needs none of the memory that a kept model has.
      const process = entry.lane === 'transfer' ? undefined : ((await this.#kept.take(key)) ?? undefined);
      if (entry.stopRequested) {
        process?.kill();
        throw new DBellError('stopped', 'stopped');
      }
      const running = startTask(
        this.#host,
        task,
        input,
        (report) => onReport(report, onAccepted),
        key === null ? undefined : { process, keep: (used) => this.#kept.keep(key, used) },
      );
      return work(running, task === 'benchmark', () => running.done);
    };
    const runInTurns: JobContext['runInTurns'] = async (tasks) => {
      await this.#kept.end();
      if (entry.stopRequested) throw new DBellError('stopped', 'stopped');
      const group = new TurnGroup(this.#host, (report) => onReport(report));
      return work(group, true, () => group.run(tasks));
    };
    return {
      jobId: job.jobId,
      runTask,
      runInTurns,
      message,
      setRun: (runId, known) => {
        job.runId = runId;
        job.subject = { ...job.subject, ...known };
        this.#changed(entry);
      },
      setResumable: (path) => {
        if (job.resumable?.path === (path ?? undefined)) return;
        job.resumable = path === null ? null : { path };
        this.#changed(entry);
        // Its work folder tells of it from now on, and the supervisor knows of that: at no moment does nobody.
        if (path !== null) this.#keeper.remove(job.jobId);
      },
    };
  }

  #forgetOldest(): void {
    const ended = [...this.#entries.values()].filter(({ job }) => finalStates.includes(job.state));
    for (const { job } of ended.slice(0, Math.max(0, ended.length - serviceLimits.keptJobs))) {
      this.#entries.delete(job.jobId);
    }
  }
}

function holdInWords({ output, freeBytes, floorBytes }: JobHold): string {
  return `paused: ${formatBytes(freeBytes)} are free where ${output} is written, less than the ${formatBytes(floorBytes)} that are left to others (setting diskFloorBytes); make room, and it goes on by itself`;
}

/** What a task's process would have to hold already to be of use to it; null for tasks whose process ends with them. */
function keptKey(input: object): string | null {
  if (!('keepLoaded' in input) || input.keepLoaded !== true || !('model' in input)) return null;
  return loadedModelKey(input as TaskInput<'generate'>);
}
