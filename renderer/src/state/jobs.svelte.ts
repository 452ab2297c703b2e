import { SvelteMap } from 'svelte/reactivity';
import type { TextStep } from '../../../engine/contract/generation.ts';
import type { Job, JobProgress } from '../../../engine/contract/jobs.ts';
import type { LayerDetail } from '../../../engine/contract/quantization.ts';
import { asError, engine, onConnected } from './engine.svelte.ts';

export interface JobLayer {
  blockIndex: number;
  layer: LayerDetail;
}

/** Memory of a job's process at a time of its work. */
export interface MemoryPoint {
  elapsedMs: number;
  rssBytes: number;
}

const activeStates: readonly Job['state'][] = ['queued', 'running', 'paused', 'stopping'];
const memoryPoints = 600;

export function isActive(job: Job): boolean {
  return activeStates.includes(job.state);
}

/** What this window knows of one job: its state, and all that its events told. */
export class JobView {
  job: Job = $state.raw() as Job;
  progress: JobProgress | null = $state.raw(null);
  layers: JobLayer[] = $state.raw([]);
  messages: { level: 'info' | 'warning'; message: string }[] = $state.raw([]);
  text = $state('');
  /** The text token by token, where that was asked for. */
  steps: TextStep[] = $state.raw([]);
  memory: MemoryPoint[] = $state.raw([]);
  /** Whether what happened before this window listened has been asked for. */
  hasDetails = $state(false);

  constructor(job: Job) {
    this.update(job);
  }

  update(job: Job): void {
    this.job = job;
    if (job.progress) this.advance(job.progress);
  }

  advance(progress: JobProgress): void {
    this.progress = progress;
    if (progress.rssBytes === null) return;
    const last = this.memory.at(-1);
    if (last && progress.elapsedMs < last.elapsedMs) this.memory = [];
    else if (last && progress.elapsedMs - last.elapsedMs < 250) return;
    const kept =
      this.memory.length < memoryPoints ? this.memory : this.memory.filter((_, index) => index % 2 === 0);
    this.memory = [...kept, { elapsedMs: progress.elapsedMs, rssBytes: progress.rssBytes }];
  }
}

class Jobs {
  readonly all = new SvelteMap<string, JobView>();
  loaded = $state(false);
  readonly #asking = new Set<string>();

  constructor() {
    // Before the first list is asked for, so that nothing falls between.
    engine.onEvent((event) => {
      switch (event.type) {
        case 'job-state':
          this.#put(event.job);
          break;
        case 'job-progress':
          this.all.get(event.jobId)?.advance(event.progress);
          break;
        case 'job-layer': {
          const view = this.all.get(event.jobId);
          if (view) view.layers = [...view.layers, { blockIndex: event.blockIndex, layer: event.layer }];
          break;
        }
        case 'job-text': {
          const view = this.all.get(event.jobId);
          if (!view) break;
          view.text += event.text;
          if (event.steps) view.steps = [...view.steps, ...event.steps];
          break;
        }
        case 'job-message': {
          const view = this.all.get(event.jobId);
          if (view) view.messages = [...view.messages, { level: event.level, message: event.message }];
          break;
        }
      }
    });
    onConnected(() => this.load());
  }

  /** Newest first. */
  get list(): JobView[] {
    return [...this.all.values()].sort((a, b) => b.job.createdAt.localeCompare(a.job.createdAt));
  }

  /** What the strip shows: the job that runs, else the next in the queue. */
  get current(): JobView | null {
    const active = [...this.all.values()].filter(({ job }) => isActive(job));
    const begun = active.filter(({ job }) => job.state !== 'queued');
    // A download runs beside the work, which is what one waits for.
    return begun.find(({ job }) => job.kind !== 'download') ?? begun[0] ?? active[0] ?? null;
  }

  /** The download that runs. */
  get download(): JobView | null {
    const found = [...this.all.values()].find(
      ({ job }) => job.kind === 'download' && isActive(job) && job.state !== 'queued',
    );
    return found ?? null;
  }

  /** The verification of this package that waits or runs. */
  verificationOf(packagePath: string): JobView | null {
    const found = [...this.all.values()].find(
      ({ job }) => job.kind === 'verify' && job.subject.models[0] === packagePath && isActive(job),
    );
    return found ?? null;
  }

  /** Those behind the one that runs, in the order of the queue. */
  get queued(): JobView[] {
    return [...this.all.values()].filter(({ job }) => job.state === 'queued');
  }

  /** A measurement of speed is under way: nothing may move. */
  get isTiming(): boolean {
    const current = this.current;
    return current?.job.state === 'running' && current.progress?.task === 'benchmark';
  }

  async load(): Promise<void> {
    const { jobs } = await engine.call('jobs.list', {});
    const present = new Set(jobs.map(({ jobId }) => jobId));
    for (const jobId of [...this.all.keys()]) if (!present.has(jobId)) this.all.delete(jobId);
    for (const job of jobs) this.#put(job);
    this.loaded = true;
    for (const view of this.all.values()) {
      view.hasDetails = false;
      if (isActive(view.job)) void this.details(view.job.jobId);
    }
  }

  /**
   * Asks for all that a job told so far. Events and answers come over one connection in order, so that the answer stands for exactly what came before
   * it, and what comes after it is added.
   */
  async details(jobId: string): Promise<void> {
    const view = this.all.get(jobId);
    if (view?.hasDetails || this.#asking.has(jobId)) return;
    this.#asking.add(jobId);
    try {
      const details = await engine.call('jobs.details', { jobId });
      const found = this.#put(details.job);
      found.layers = details.layers;
      found.messages = details.messages;
      found.text = details.text;
      found.steps = details.steps;
      found.hasDetails = true;
    } catch (error) {
      // It is asked for again with the list, as soon as the engine is back.
      if (asError(error).code !== 'connection-lost') throw error;
    } finally {
      this.#asking.delete(jobId);
    }
  }

  #put(job: Job): JobView {
    const found = this.all.get(job.jobId);
    if (found) {
      found.update(job);
      return found;
    }
    const view = new JobView(job);
    this.all.set(job.jobId, view);
    return view;
  }
}

export const jobs = new Jobs();
