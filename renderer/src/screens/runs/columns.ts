import type { CallInput } from '../../../../engine/contract/calls.ts';
import type { RunSummary } from '../../../../engine/contract/history.ts';
import { markTip, metricOf } from '../../format/metrics.ts';
import { bitsPerWeight, bytes, perplexity, ratio, shortDateTime } from '../../format/numbers.ts';
import { strings } from '../../strings/index.ts';

export type SortKey = NonNullable<CallInput<'history.list'>['sortBy']>;

export interface Column {
  id: string;
  label: string;
  /** As a grid's track. */
  width: string;
  isNumber: boolean;
  sortBy: SortKey | null;
  text: (run: RunSummary) => string;
  /** Of one run's cell. */
  cellTip?: (run: RunSummary) => string | undefined;
  tip?: string;
  /** Width of the window below which it is left out; the report has it. */
  leftOutBelow?: number;
}

const words = strings.runs.columns;

/** Window width from which all columns have room. */
const wideEnough = 1180;
/** Below it the model's name would be left without room. */
const narrow = 1000;

/** The table of runs, from left to right. */
const columns: Column[] = [
  {
    id: 'model',
    label: words.model,
    width: 'minmax(7rem, 3fr)',
    isNumber: false,
    sortBy: 'modelName',
    text: (run) => run.modelName,
  },
  {
    id: 'kind',
    label: words.kind,
    width: '5.4rem',
    isNumber: false,
    sortBy: 'kind',
    text: (run) => strings.runKinds[run.kind],
    tip: strings.tips.runKind,
  },
  {
    id: 'recipe',
    label: words.recipe,
    width: 'minmax(6rem, 1fr)',
    isNumber: false,
    sortBy: 'recipe',
    text: (run) => run.recipe?.split(' ')[0] ?? '–',
    tip: strings.tips.runRecipe,
  },
  {
    id: 'bits',
    label: words.bits,
    width: '4.7rem',
    isNumber: true,
    sortBy: 'storedBitsPerWeight',
    text: (run) => bitsPerWeight(run.metrics.storedBitsPerWeight),
    tip: strings.tips.storedBits,
  },
  {
    id: 'activations',
    leftOutBelow: wideEnough,
    label: words.activations,
    width: '2.6rem',
    isNumber: true,
    sortBy: null,
    text: (run) => (run.activationBits === null ? '–' : `A${run.activationBits}`),
    tip: strings.tips.activations,
  },
  {
    id: 'size',
    leftOutBelow: wideEnough,
    label: words.size,
    width: '4.9rem',
    isNumber: true,
    sortBy: 'modelBytes',
    text: (run) => bytes(run.metrics.modelBytes),
    tip: strings.tips.weightFile,
  },
  {
    id: 'perplexity',
    label: words.perplexity,
    width: '4.5rem',
    isNumber: true,
    sortBy: 'perplexity',
    text: (run) => perplexity(run.metrics.perplexity),
  },
  {
    id: 'ratio',
    leftOutBelow: narrow,
    label: words.ratio,
    width: '3.2rem',
    isNumber: true,
    sortBy: 'perplexityRatio',
    text: (run) => ratio(run.metrics.perplexityRatio),
    tip: strings.tips.ratio,
  },
  {
    id: 'decode',
    label: words.decode,
    width: '5.9rem',
    isNumber: true,
    sortBy: 'decodeTokensPerSecond',
    text: (run) => metricOf('decodeTokensPerSecond', run.metrics),
    cellTip: (run) => markTip('decodeTokensPerSecond', run.metrics),
  },
  {
    id: 'memory',
    leftOutBelow: wideEnough,
    label: words.memory,
    width: '4.9rem',
    isNumber: true,
    sortBy: 'peakRssBytes',
    text: (run) => bytes(run.metrics.peakRssBytes ?? run.metrics.runtimePeakRssBytes),
    tip: strings.tips.tablePeak,
  },
  {
    id: 'created',
    label: words.created,
    width: '7.2rem',
    isNumber: true,
    sortBy: 'createdAt',
    text: (run) => shortDateTime(run.createdAt),
  },
];

export function columnsFor(windowWidth: number): Column[] {
  return columns.filter(({ leftOutBelow = 0 }) => windowWidth >= leftOutBelow);
}

export function tracksOf(shown: Column[]): string {
  return ['1.5rem', ...shown.map(({ width }) => width), '1.25rem'].join(' ');
}
