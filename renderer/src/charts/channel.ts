import uPlot from 'uplot';
import type { CallOutput } from '../../../engine/contract/calls.ts';
import { count, significant } from '../format/numbers.ts';
import { strings } from '../strings/index.ts';
import { axis, bottomAxis, type ChartSpecification, pointerCursor } from './chart.ts';
import { withOpacity } from './theme.ts';

const words = strings.charts;

/** The weights of one row or column before and after, over the same bins. */
export function channelChart({
  layer,
  axis: direction,
  index,
  original,
  packed,
}: CallOutput<'packages.channelWeights'>): ChartSpecification {
  const { minimum, maximum, counts } = original;
  const width = (maximum - minimum) / counts.length || 1;
  const x = counts.map((_, bin) => minimum + (bin + 0.5) * width);
  const series = [
    { label: words.channelOriginal, counts, colour: 0 },
    { label: words.channelPacked, counts: packed.counts, colour: 2 },
  ];
  return {
    name: `weights-${direction}-${index}`,
    summary: words.channelSummary(layer, direction, count(index)),
    table: {
      columns: [words.weight, ...series.map(({ label }) => label)],
      rows: x.map((value, bin) => [value, ...series.map((each) => each.counts[bin] ?? 0)]),
    },
    legend: series.map(({ label, colour }) => ({
      label,
      colour: (colours) => colours.series[colour] ?? colours.accent,
      shape: 'fill',
    })),
    data: [x, ...series.map((each) => each.counts)],
    describe: (bin) =>
      [significant(x[bin]), ...series.map((each) => `${each.label}: ${count(each.counts[bin])}`)].join('\n'),
    options: (colours) => ({
      cursor: { ...pointerCursor, y: false, points: { show: false } },
      scales: {
        x: { time: false, range: [minimum - width / 2, maximum + width / 2] },
        y: { range: (_, __, most) => [0, (most || 1) * 1.08] },
      },
      axes: [
        bottomAxis(colours, { space: 56, values: (_, ticks) => ticks.map((tick) => significant(tick, 2)) }),
        axis(colours, {
          size: 40,
          label: words.weightCount,
          values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? count(tick) : '')),
        }),
      ],
      series: [
        {},
        ...series.map(({ colour }) => ({
          points: { show: false },
          paths: uPlot.paths.bars?.({ size: [1, Number.POSITIVE_INFINITY], gap: 0.5 }),
          stroke: colours.series[colour],
          fill: withOpacity(colours.series[colour] ?? colours.accent, 0.45),
          width: 0,
        })),
      ],
    }),
  };
}
