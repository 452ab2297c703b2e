import type { ProcessEnd, ProcessHost, WorkProcess } from './process-host.ts';

/** Who hears a work process at the moment. */
export interface ProcessListener {
  onMessage(message: unknown): void;
  /** After the last message. */
  onEnd(end: ProcessEnd): void;
}

/** A work process whose listener changes from task to task. */
export interface AttachableProcess extends Pick<WorkProcess, 'pid' | 'send' | 'lastOutput' | 'kill'> {
  attach(listener: ProcessListener): void;
}

export function startProcess(host: ProcessHost): AttachableProcess {
  const worker = host.start();
  let listener: ProcessListener | null = null;
  worker.onMessage((message) => listener?.onMessage(message));
  worker.onEnd((end) => listener?.onEnd(end));
  return {
    // Known only once it runs, where another process starts it.
    get pid() {
      return worker.pid;
    },
    send: (message) => worker.send(message),
    lastOutput: () => worker.lastOutput(),
    kill: () => worker.kill(),
    attach(next) {
      listener = next;
    },
  };
}

/**
 * At most one work process that stays after its task with what it has loaded, for the next task that needs the same. Everything else ends it first, so that it takes no
 * memory from other work; so does time.
 */
export class KeptProcess {
  readonly #idleMs: number;
  #kept: { key: string; process: AttachableProcess; timer: NodeJS.Timeout; gone: Promise<void> } | null =
    null;

  /** @param idleMs how long a process may wait for its next task */
  constructor(idleMs: number) {
    this.#idleMs = idleMs;
  }

  /** The process kept for this key, now the caller's; null where there is none. One of another key is ended. */
  async take(key: string | null): Promise<AttachableProcess | null> {
    const kept = this.#kept;
    if (kept === null) return null;
    if (kept.key !== key) {
      await this.end();
      return null;
    }
    this.#kept = null;
    clearTimeout(kept.timer);
    return kept.process;
  }

  /** Keeps a process that has done its task. */
  keep(key: string, process: AttachableProcess): void {
    void this.end();
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(() => void this.end(), this.#idleMs);
    // A process in waiting is no reason for the service to go on living.
    timer.unref();
    const kept = { key, process, timer, gone: promise };
    this.#kept = kept;
    process.attach({
      onMessage() {},
      onEnd: () => {
        clearTimeout(timer);
        if (this.#kept === kept) this.#kept = null;
        resolve();
      },
    });
  }

  /** Ends the kept process; resolves when it is gone. */
  async end(): Promise<void> {
    const kept = this.#kept;
    if (kept === null) return;
    this.#kept = null;
    clearTimeout(kept.timer);
    kept.process.kill();
    await kept.gone;
  }
}
