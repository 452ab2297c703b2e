import type { CallOutput } from '../../../engine/contract/calls.ts';
import type { DBellError } from '../../../engine/contract/errors.ts';
import {
  downloadSubject,
  type HubModel,
  type HubSearchResult,
  type UnfinishedDownload,
} from '../../../engine/contract/hub.ts';
import { asError, engine, onConnected } from './engine.svelte.ts';
import { isActive, type JobView, jobs } from './jobs.svelte.ts';

export type HubStatus = CallOutput<'hub.status'>;

/** What is asked of a server: nothing yet, on its way, or answered. */
type Asked<T> = { state: 'asking' } | { state: 'done'; value: T } | { state: 'failed'; error: DBellError };

/** Models of the Hub as this window looks at them. The engine does everything that needs the network. */
class Hub {
  status: HubStatus | null = $state.raw(null);
  unfinished: UnfinishedDownload[] = $state.raw([]);
  query = $state('');
  /** What the results are for. */
  searched = $state('');
  results: Asked<HubSearchResult[]> | null = $state.raw(null);
  /** The model that is looked at; null where one on disk is. */
  selected: string | null = $state(null);
  model: Asked<HubModel> | null = $state.raw(null);

  constructor() {
    onConnected(() => this.load());
    engine.onEvent((event) => {
      if (event.type === 'settings-changed') void this.load();
      else if (event.type === 'job-state' && event.job.kind === 'download') void this.load();
    });
  }

  async load(): Promise<void> {
    try {
      const [status, { downloads }] = await Promise.all([
        engine.call('hub.status', {}),
        engine.call('hub.unfinished', {}),
      ]);
      this.status = status;
      this.unfinished = downloads;
    } catch (error) {
      if (asError(error).code !== 'connection-lost') throw error;
    }
  }

  async search(): Promise<void> {
    const query = this.query.trim();
    if (query === '') return;
    this.searched = query;
    this.results = { state: 'asking' };
    const asked = await ask(async () => (await engine.call('hub.search', { query })).models);
    if (this.searched === query) this.results = asked;
  }

  async look(name: string): Promise<void> {
    this.selected = name;
    this.model = { state: 'asking' };
    const asked = await ask(() => engine.call('hub.model', { name }));
    if (this.selected === name) this.model = asked;
  }

  leave(): void {
    this.selected = null;
    this.model = null;
  }

  /** The newest job that downloads this; null where there was none since the service began. */
  job(name: string, file: string | null): JobView | null {
    const subject = downloadSubject(name, file);
    return jobs.list.find(({ job }) => job.kind === 'download' && job.subject.models[0] === subject) ?? null;
  }

  isActive(name: string, file: string | null): boolean {
    const view = this.job(name, file);
    return view !== null && isActive(view.job);
  }

  async download(name: string, file: string | null, revision = 'main'): Promise<string> {
    const { jobId } = await engine.call('hub.download', {
      name,
      revision,
      ...(file === null ? {} : { file }),
    });
    return jobId;
  }

  async discard(path: string): Promise<void> {
    await engine.call('hub.discard', { path });
    await this.load();
  }
}

async function ask<T>(work: () => Promise<T>): Promise<Asked<T>> {
  try {
    return { state: 'done', value: await work() };
  } catch (error) {
    return { state: 'failed', error: asError(error) };
  }
}

export const hub = new Hub();
