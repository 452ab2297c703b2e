import type { ErrorPayload } from '../contract/error-payload.ts';
import { toErrorPayload } from '../contract/error-payload.ts';
import { DBellError } from '../contract/errors.ts';
import type { ProcessHost } from './process-host.ts';
import { type RunningTask, startTask } from './supervisor.ts';
import type { Report, TaskInput, TaskKind, TaskResult } from './work-protocol.ts';

/** A task that waits for its turn at every border. */
export interface TurnTask<K extends TaskKind = TaskKind> {
  task: K;
  input: TaskInput<K>;
}

export type TurnOutcome = { result: TaskResult<TaskKind> } | { problem: ErrorPayload };

interface Member {
  running: RunningTask<TaskKind>;
  hasEnded: boolean;
  outcome: TurnOutcome | null;
  /** Resolves when it waits for its turn again, or has ended. */
  arrived: Promise<void>;
  arrive: () => void;
}

/** Between two turns: threads of whoever went before that still look for work go to sleep meanwhile. */
const settleMs = 30;

/**
 * Tasks that are loaded side by side, each in its own process, and work in turns, one step each: A B A B. What the machine does meanwhile meets all of them alike. Only one works
 * at a time, from loading on. A failure of the first ends all; one of another is its outcome.
 */
export class TurnGroup {
  readonly #host: ProcessHost;
  readonly #onReport: (report: Report) => void;
  readonly #members: Member[] = [];
  #stopping = false;
  #resume: Promise<void> = Promise.resolve();
  #continue: (() => void) | null = null;

  constructor(host: ProcessHost, onReport: (report: Report) => void) {
    this.#host = host;
    this.#onReport = onReport;
  }

  /** The outcomes in the order of the tasks. Throws what the first task throws, and DBellError `stopped`. */
  async run(tasks: readonly TurnTask[]): Promise<TurnOutcome[]> {
    try {
      for (const task of tasks) {
        if (this.#stopping) throw new DBellError('stopped', 'stopped');
        const member = this.#start(task);
        await member.arrived;
        this.#checkFirst();
      }
      while (this.#members.some(({ hasEnded }) => !hasEnded))
        for (const member of this.#members) {
          if (member.hasEnded) continue;
          await this.#resume;
          if (this.#stopping) throw new DBellError('stopped', 'stopped');
          await new Promise((resolve) => setTimeout(resolve, settleMs));
          this.#expectArrival(member);
          member.running.giveTurn();
          await member.arrived;
          this.#checkFirst();
        }
      return this.#members.map(({ outcome }) => outcome as TurnOutcome);
    } catch (error) {
      for (const { running, hasEnded } of this.#members) if (!hasEnded) running.stop();
      await Promise.allSettled(this.#members.map(({ running }) => running.done));
      throw error;
    }
  }

  pause(): void {
    if (this.#continue !== null) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#resume = promise;
    this.#continue = resolve;
  }

  continue(): void {
    this.#continue?.();
    this.#continue = null;
  }

  stop(): void {
    this.#stopping = true;
    this.continue();
    for (const { running, hasEnded } of this.#members) if (!hasEnded) running.stop();
  }

  kill(): void {
    this.#stopping = true;
    this.continue();
    for (const { running } of this.#members) running.kill();
  }

  #start({ task, input }: TurnTask): Member {
    const onReport = (report: Report) => {
      if (report.type === 'waiting') member.arrive();
      else this.#onReport(report);
    };
    const running = startTask(this.#host, task, input as never, onReport) as unknown as RunningTask<TaskKind>;
    const member: Member = {
      running,
      hasEnded: false,
      outcome: null,
      arrived: Promise.resolve(),
      arrive() {},
    };
    this.#expectArrival(member);
    this.#members.push(member);
    running.done
      .then(
        (result) => {
          member.outcome = { result };
        },
        (error: unknown) => {
          member.outcome = { problem: toErrorPayload(error) };
        },
      )
      .finally(() => {
        member.hasEnded = true;
        member.arrive();
      });
    return member;
  }

  #expectArrival(member: Member): void {
    const { promise, resolve } = Promise.withResolvers<void>();
    member.arrived = promise;
    member.arrive = resolve;
  }

  /** Without the first there is nothing to compare with. */
  #checkFirst(): void {
    const outcome = this.#members[0]?.outcome;
    if (outcome && 'problem' in outcome) throw new DBellError(outcome.problem.code, outcome.problem.message);
  }
}
