import uPlot from 'uplot';
import type { LayerDetail, LtdbSummary, WeightHistogram } from '../../../engine/contract/quantization.ts';
import { count, percent, significant } from '../format/numbers.ts';
import { strings } from '../strings/index.ts';
import { axis, bottomAxis, type ChartSpecification, pointerCursor } from './chart.ts';
import { errorColour, withOpacity } from './theme.ts';

const words = strings.charts;

/** An axis up to less would make rounding errors look like losses. */
const leastErrorShown = 1e-4;

/** Relative error of every linear in the order of the work; one bar each from 0, coloured by size on a logarithmic scale. */
export function layerErrorChart(
  layers: { name: string; relativeError: number }[],
  expectedLayers: number,
): ChartSpecification {
  const total = Math.max(expectedLayers, layers.length, 1);
  const x = Array.from({ length: total }, (_, index) => index);
  const values = x.map((index) => layers[index]?.relativeError ?? null);
  const most = Math.max(...layers.map(({ relativeError }) => relativeError), leastErrorShown);
  return {
    name: 'layer-errors',
    summary: words.layerErrorSummary(layers.length),
    table: {
      columns: [words.layer, words.relativeError],
      rows: layers.map(({ name, relativeError }) => [name, relativeError]),
    },
    legend: [],
    data: [x, values],
    describe: (index) => {
      const layer = layers[index];
      return layer ? `${layer.name} · ${percent(layer.relativeError, 2)}` : '';
    },
    options: (colours) => ({
      cursor: { ...pointerCursor, y: false, points: { show: false } },
      scales: {
        x: { time: false, range: [-0.6, total - 0.4] },
        y: { range: [0, most * 1.05] },
      },
      axes: [
        bottomAxis(colours, {
          label: words.layersInOrder,
          size: 30,
          values: (_, ticks) =>
            ticks.map((tick) => (Number.isInteger(tick) && tick < total ? count(tick + 1) : '')),
        }),
        axis(colours, {
          size: 52,
          label: words.errorOfOutput,
          values: (_, ticks) => {
            // As many decimals as tell neighbouring ticks apart.
            const step = (ticks[1] ?? 1) - (ticks[0] ?? 0);
            const decimals = Math.max(0, Math.ceil(-Math.log10(step * 100) - 1e-9));
            return ticks.map((tick) => percent(tick, decimals));
          },
        }),
      ],
      series: [
        {},
        {
          points: { show: false },
          paths: uPlot.paths.bars?.({
            size: [0.8, 28],
            disp: {
              fill: {
                unit: 3,
                values: () =>
                  values.map((value) => (value === null ? colours.grid : errorColour(value, colours))),
              },
            },
          }),
          fill: colours.accent,
          width: 0,
        },
      ],
    }),
  };
}

/** Borders of a histogram's bins, and its counts as shares of the fullest bin, so that histograms of unlike ranges can be laid over each other. */
function steps(histogram: WeightHistogram): { x: number[]; y: number[] } {
  const { minimum, maximum, counts } = histogram;
  const width = (maximum - minimum) / Math.max(1, counts.length) || 1;
  const most = Math.max(1, ...counts);
  return {
    x: counts.map((_, index) => minimum + (index + 0.5) * width),
    y: counts.map((each) => each / most),
  };
}

type Histograms = NonNullable<LayerDetail['histograms']>;

/** From the least to the largest weight of all: histograms that are to be compared stand on one axis. */
export function commonRange(...histograms: readonly WeightHistogram[]): [number, number] {
  return [
    Math.min(...histograms.map(({ minimum }) => minimum)),
    Math.max(...histograms.map(({ maximum }) => maximum)),
  ];
}

/** One histogram of a layer's weights: a single bell before the transform, a double one after it. Without `range` the axis is its own. */
export function weightHistogramChart(
  name: string,
  histogram: WeightHistogram,
  which: keyof Histograms,
  range?: [number, number],
): ChartSpecification {
  const { x, y } = steps(histogram);
  const colour = { original: 0, transformed: 1, quantized: 2 }[which];
  return {
    name: `weights-${which}`,
    summary: words.histogramSummary(words.histogramOf[which], name),
    table: {
      columns: [words.weight, words.weightsInBin],
      rows: x.map((value, index) => [value, histogram.counts[index] ?? 0]),
    },
    legend: [],
    data: [x, y],
    describe: (index) => `${significant(x[index])} · ${words.weights(count(histogram.counts[index]))}`,
    options: (colours) => ({
      cursor: { ...pointerCursor, y: false },
      scales: { x: { time: false, ...(range ? { range } : {}) }, y: { range: [0, 1.08] } },
      axes: [
        bottomAxis(colours, { space: 44, values: (_, ticks) => ticks.map((tick) => significant(tick, 2)) }),
        { show: false },
      ],
      series: [
        {},
        {
          points: { show: false },
          paths: uPlot.paths.bars?.({
            size: [1, Number.POSITIVE_INFINITY],
            gap: which === 'quantized' ? 0 : 0.5,
          }),
          stroke: colours.series[colour],
          fill: withOpacity(colours.series[colour] ?? colours.accent, 0.55),
          width: 0,
        },
      ],
    }),
  };
}

/** Largest activation of each group of channels, before and after the transform. */
export function channelMaximaChart(maxima: NonNullable<LayerDetail['channelMaxima']>): ChartSpecification {
  const groups = maxima.before.length;
  const width = maxima.channels / Math.max(1, groups);
  const x = maxima.before.map((_, index) => Math.round(index * width));
  const changed = maxima.before.some((value, index) => value !== maxima.after[index]);
  return {
    name: 'activation-ranges',
    summary: words.activationSummary(maxima.channels),
    table: {
      columns: [words.firstChannel, words.before, words.after],
      rows: x.map((channel, index) => [channel, maxima.before[index] ?? null, maxima.after[index] ?? null]),
    },
    legend: [
      { label: words.before, colour: (colours) => colours.series[0] ?? '', shape: 'line' },
      ...(changed
        ? [
            {
              label: words.after,
              colour: (c: Parameters<ChartSpecification['options']>[0]) => c.series[1] ?? '',
              shape: 'line' as const,
            },
          ]
        : []),
    ],
    data: changed ? [x, maxima.before, maxima.after] : [x, maxima.before],
    describe: (index) =>
      `${words.channel} ${count(x[index])} · ${significant(maxima.before[index])}${changed ? ` → ${significant(maxima.after[index])}` : ''}`,
    options: (colours) => ({
      cursor: { ...pointerCursor, y: false },
      scales: { x: { time: false }, y: { range: (_, __, most) => [0, (most || 1) * 1.08] } },
      axes: [
        bottomAxis(colours, { label: words.channel, size: 30 }),
        axis(colours, { values: (_, ticks) => ticks.map((tick) => significant(tick, 2)) }),
      ],
      series: [
        {},
        {
          points: { show: false },
          paths: uPlot.paths.stepped?.({ align: 1 }),
          stroke: colours.series[0],
          width: 1.5,
        },
        ...(changed
          ? [
              {
                points: { show: false },
                paths: uPlot.paths.stepped?.({ align: 1 }),
                stroke: colours.series[1],
                width: 1.5,
              },
            ]
          : []),
      ],
    }),
  };
}

/** L_DTNP over the epochs, mean of the blocks of columns. */
export function lossChart(ltdb: LtdbSummary): ChartSpecification {
  return {
    name: 'ltdb-loss',
    summary: words.lossSummary(ltdb.blockCount, ltdb.stoppedEarly),
    table: {
      columns: [words.epoch, words.loss],
      rows: ltdb.epochs.map((epoch, index) => [epoch, ltdb.lossCurve[index] ?? null]),
    },
    legend: [],
    data: [ltdb.epochs, ltdb.lossCurve],
    describe: (index) =>
      `${words.epoch} ${count(ltdb.epochs[index])} · ${significant(ltdb.lossCurve[index], 4)}`,
    options: (colours) => ({
      cursor: { ...pointerCursor, y: false },
      scales: { x: { time: false } },
      axes: [
        bottomAxis(colours, { label: words.epoch, size: 30 }),
        axis(colours, { size: 52, values: (_, ticks) => ticks.map((tick) => significant(tick)) }),
      ],
      series: [
        {},
        { points: { show: ltdb.epochs.length < 40, size: 4 }, stroke: colours.series[0], width: 1.5 },
      ],
    }),
  };
}

/** Resident memory of the work process. */
export function memoryChart(points: { elapsedMs: number; rssBytes: number }[]): ChartSpecification {
  const x = points.map(({ elapsedMs }) => elapsedMs / 1000);
  const y = points.map(({ rssBytes }) => rssBytes / 1e6);
  return {
    name: 'memory',
    summary: words.memorySummary,
    table: {
      columns: [words.seconds, words.megabytes],
      rows: x.map((second, index) => [second, y[index] ?? null]),
    },
    legend: [],
    data: [x, y],
    describe: (index) => `${significant(x[index])} s · ${count(y[index])} MB`,
    options: (colours) => ({
      cursor: { ...pointerCursor, y: false },
      scales: { x: { time: false }, y: { range: (_, __, most) => [0, (most || 1) * 1.15] } },
      axes: [
        bottomAxis(colours, {
          values: (_, ticks) =>
            ticks.map((tick) => `${Number.isInteger(tick) ? count(tick) : significant(tick, 2)} s`),
        }),
        axis(colours, { size: 58, values: (_, ticks) => ticks.map((tick) => `${count(tick)} MB`) }),
      ],
      series: [
        {},
        {
          points: { show: false },
          stroke: colours.series[2],
          fill: withOpacity(colours.series[2] ?? colours.accent, 0.15),
          width: 1.5,
        },
      ],
    }),
  };
}
