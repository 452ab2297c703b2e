import type { JobProgress } from '../contract/jobs.ts';
import { formatBytes, formatDuration, formatPercent, significant } from './format.ts';
import type { Output } from './output.ts';
import { cut } from './table.ts';

/** A pipe or a log file gets a line this often at most, besides one where a task begins. */
const plainLineIntervalMs = 5000;
/** A bar wider than this tells nothing more. */
const barWidth = 12;
const fallbackColumns = 80;

const colour = { bar: '\x1b[36m', faint: '\x1b[2m', reset: '\x1b[0m' } as const;
const clearLine = '\r\x1b[2K';

/**
 * Shows a job's progress on standard error: one line redrawn in place on a terminal, a few plain lines elsewhere.
 */
export class ProgressDisplay {
  readonly #output: Output;
  readonly #terminal: boolean;
  #drawn = false;
  #task = '';
  #relativeError: number | null = null;
  #lastLineAt = Number.NEGATIVE_INFINITY;
  #lastPhase = '';

  constructor(output: Output) {
    this.#output = output;
    const { stderr, environment } = output.streams;
    this.#terminal = Boolean(stderr.isTTY) && environment.TERM !== 'dumb';
  }

  show(newest: JobProgress): void {
    // Layers end between many other events; the newest error stays until there is a newer one.
    if (newest.task !== this.#task) this.#relativeError = null;
    this.#task = newest.task;
    this.#relativeError = newest.relativeError ?? this.#relativeError;
    const progress = { ...newest, relativeError: this.#relativeError };
    if (this.#terminal) {
      const columns = this.#output.streams.stderr.columns || fallbackColumns;
      this.#output.streams.stderr.write(clearLine + this.#terminalLine(progress, columns - 1));
      this.#drawn = true;
      return;
    }
    const now = performance.now();
    // Preparations have no fraction; the first line with one says that the work itself has begun.
    const phase = `${progress.task} ${progress.fraction === null}`;
    if (phase === this.#lastPhase && now - this.#lastLineAt < plainLineIntervalMs) return;
    this.#lastPhase = phase;
    this.#lastLineAt = now;
    this.#output.message(progressParts(progress).join('  ').trim());
  }

  /** Makes room for other output. */
  clear(): void {
    if (!this.#drawn) return;
    this.#output.streams.stderr.write(clearLine);
    this.#drawn = false;
  }

  #terminalLine(progress: JobProgress, columns: number): string {
    const parts = progressParts(progress);
    if (progress.fraction === null) return cut(parts.join('  '), columns);
    const filled = Math.round(progress.fraction * barWidth);
    const done = '━'.repeat(filled);
    const left = '─'.repeat(barWidth - filled);
    const text = cut(parts.join('  '), Math.max(10, columns - barWidth - 1));
    if (!this.#output.colours) return `${done}${left} ${text}`;
    return `${colour.bar}${done}${colour.faint}${left}${colour.reset} ${text}`;
  }
}

/** Whole seconds: an estimate is no better than that. */
function shownRemaining(remainingMs: number): string {
  if (remainingMs < 1000) return '<1 s';
  return remainingMs < 59_500 ? `${Math.round(remainingMs / 1000)} s` : formatDuration(remainingMs);
}

/** The most telling first, since a narrow terminal cuts the end. */
function progressParts(progress: JobProgress): string[] {
  const { task, stage, fraction, step, relativeError, remainingMs, rssBytes, item, bytes } = progress;
  const parts = [fraction === null ? '    ' : formatPercent(fraction).padStart(4), task];
  if (step) parts.push(`${step.unit} ${Math.min(step.index + 1, step.count)}/${step.count}`);
  if (stage !== task) parts.push(stage);
  if (relativeError !== null) parts.push(`error ${significant(relativeError, 2)}`);
  if (remainingMs !== null) parts.push(`${shownRemaining(remainingMs)} left`);
  // Of a transfer the bytes that came say more than the memory.
  if (bytes) parts.push(`${formatBytes(bytes.done)} of ${formatBytes(bytes.total)}`);
  else if (rssBytes !== null) parts.push(formatBytes(rssBytes));
  if (item !== null) parts.push(item);
  return parts;
}
