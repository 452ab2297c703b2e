import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { DBellError } from '../contract/errors.ts';
import { pausePollMs } from './limits.ts';
import { Pace } from './pace.ts';
import type { QuantizationControl, QuantizationProgress } from './progress.ts';

type Event = Omit<
  QuantizationProgress,
  | 'blockIndex'
  | 'blockCount'
  | 'fraction'
  | 'elapsedMs'
  | 'etaMs'
  | 'etaRangeMs'
  | 'stage'
  | 'layer'
  | 'relativeError'
> &
  Partial<Pick<QuantizationProgress, 'stage' | 'layer' | 'relativeError'>>;

/** Before this share of a block is done, the first session's making and the first pages' reading are most of the time, and say nothing about the rest. */
const leastBlockShareForEstimate = 1 / 8;

/**
 * Counts work (cost-model.ts) against time, fills in the common fields of progress events, and is where a job can be paused and stopped.
 */
export class ProgressReporter {
  private readonly startedMs = performance.now();
  private pausedMs = 0;
  private readonly pace: Pace;
  private seenMs = 0;
  private done: number;
  private blockIndex = 0;
  private readonly blockCount: number;
  private readonly totalOperations: number;
  private readonly control: QuantizationControl | undefined;
  private readonly onProgress: ((progress: QuantizationProgress) => void) | undefined;

  constructor(settings: {
    blockCount: number;
    totalOperations: number;
    doneOperations: number;
    control: QuantizationControl | undefined;
    onProgress: ((progress: QuantizationProgress) => void) | undefined;
  }) {
    this.blockCount = settings.blockCount;
    this.totalOperations = settings.totalOperations;
    this.done = settings.doneOperations;
    this.pace = new Pace(this.totalOperations / Math.max(1, this.blockCount), leastBlockShareForEstimate);
    this.control = settings.control;
    this.onProgress = settings.onProgress;
  }

  enterBlock(blockIndex: number): void {
    this.blockIndex = blockIndex;
    this.pace.endBlock();
  }

  get elapsedMs(): number {
    return performance.now() - this.startedMs - this.pausedMs;
  }

  /**
   * Work was done: reports it and gives others a turn. Waits while paused.
   * @throws DBellError `stopped` where that was asked for
   */
  async advance(operations: number, event: Event): Promise<void> {
    this.done += operations;
    const elapsedMs = this.elapsedMs;
    this.pace.advance(operations, elapsedMs - this.seenMs);
    this.seenMs = elapsedMs;
    const left = this.pace.remaining(Math.max(0, this.totalOperations - this.done));
    this.onProgress?.({
      stage: null,
      layer: null,
      relativeError: null,
      ...event,
      blockIndex: this.blockIndex,
      blockCount: this.blockCount,
      fraction: this.totalOperations > 0 ? Math.min(1, this.done / this.totalOperations) : 1,
      elapsedMs,
      etaMs: left?.expectedMs ?? null,
      etaRangeMs: left && { low: left.lowMs, high: left.highMs },
    });
    await this.checkControl();
  }

  async checkControl(): Promise<void> {
    await nextTurn();
    const control = this.control;
    if (!control) return;
    if (control.paused() && !control.stopRequested()) {
      const since = performance.now();
      while (control.paused() && !control.stopRequested()) await sleep(pausePollMs);
      this.pausedMs += performance.now() - since;
    }
    if (control.stopRequested()) {
      throw new DBellError(
        'stopped',
        `stopped in block ${this.blockIndex + 1} of ${this.blockCount}; everything up to the block before is kept, resume goes on from there`,
      );
    }
  }
}

/** An event's fields where nothing but the step is to be said. */
export function plainEvent(
  step: QuantizationProgress['step'],
  doneWindows: number,
  totalWindows: number,
): Event {
  return { step, doneWindows, totalWindows, notes: [], ltdb: null, histograms: null, channelMaxima: null };
}
