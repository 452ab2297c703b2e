import { SvelteSet } from 'svelte/reactivity';
import type { DBellError } from '../../../../engine/contract/errors.ts';
import type { RunSummary } from '../../../../engine/contract/history.ts';
import { asError, engine } from '../../state/engine.svelte.ts';
import type { SortKey } from './columns.ts';

const pageRows = 200;
/** Rows asked for again at once when the history changes; what lies beyond comes when it is scrolled to. */
const mostRowsAtOnce = 2000;

export type KindFilter = RunSummary['kind'] | 'all';
export type StateFilter = RunSummary['state'] | 'all';

/** By which the first click sorts upwards: names, and what is better when it is smaller. */
const ascendingFirst: ReadonlySet<SortKey> = new Set<SortKey>([
  'modelName',
  'recipe',
  'kind',
  'perplexity',
  'perplexityRatio',
]);

/** The table's rows, filters and order, which outlive the table, so that who comes back from a report finds it as it was; and the selection, which does not. */
class RunList {
  rows: RunSummary[] = $state.raw([]);
  total = $state(0);
  loaded = $state(false);
  error: DBellError | null = $state.raw(null);
  text = $state('');
  kind: KindFilter = $state('all');
  runState: StateFilter = $state('all');
  sortBy: SortKey = $state('createdAt');
  descending = $state(true);
  /** Pixels scrolled. */
  scrollTop = $state(0);
  readonly selected = new SvelteSet<string>();
  #isLoadingMore = false;

  readonly query = $derived({
    ...(this.kind === 'all' ? {} : { kind: this.kind }),
    ...(this.runState === 'all' ? {} : { state: this.runState }),
    ...(this.text.trim() === '' ? {} : { text: this.text.trim() }),
    sortBy: this.sortBy,
    descending: this.descending,
  });

  get isFiltered(): boolean {
    return this.kind !== 'all' || this.runState !== 'all' || this.text.trim() !== '';
  }

  /** Asks for the rows anew; an answer that comes after the query has changed is dropped. */
  async refresh(): Promise<void> {
    const asked = this.query;
    const limit = Math.max(pageRows, Math.min(this.rows.length, mostRowsAtOnce));
    try {
      const page = await engine.call('history.list', { ...asked, limit });
      if (asked !== this.query) return;
      this.rows = page.runs;
      this.total = page.total;
      this.error = null;
    } catch (cause) {
      if (asked !== this.query) return;
      this.error = asError(cause);
    }
    this.loaded = true;
  }

  async loadMore(): Promise<void> {
    if (this.#isLoadingMore) return;
    this.#isLoadingMore = true;
    const asked = this.query;
    try {
      const page = await engine.call('history.list', { ...asked, limit: pageRows, offset: this.rows.length });
      if (asked === this.query) this.rows = [...this.rows, ...page.runs];
    } finally {
      this.#isLoadingMore = false;
    }
  }

  sort(key: SortKey): void {
    if (this.sortBy === key) this.descending = !this.descending;
    else {
      this.sortBy = key;
      this.descending = !ascendingFirst.has(key);
    }
  }

  toggle(runId: string): void {
    if (!this.selected.delete(runId)) this.selected.add(runId);
  }

  clearFilters(): void {
    this.text = '';
    this.kind = 'all';
    this.runState = 'all';
  }

  /** Does what a button asked for; what went wrong stands above the table. */
  async attempt(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (cause) {
      this.error = asError(cause);
    }
  }
}

export const runList = new RunList();
