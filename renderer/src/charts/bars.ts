import { strings } from '../strings/index.ts';
import { type DrawnBar, placeBarValues } from './bar-values.ts';
import { axis, bottomAxis, type ChartSpecification, pointerCursor } from './chart.ts';
import type { Box } from './label-places.ts';
import { drawPointNames } from './point-names.ts';

export interface BarSeries {
  label: string;
  /** One for each category; null where it was not measured. */
  values: (number | null)[];
  /** Lowest and highest repetition. */
  spreads?: ([number, number] | null)[];
  /** A limit that the value can approach, such as memory bandwidth. */
  marks?: (number | null)[];
}

/** How many times the highest bar a mark may be to be drawn: beyond it the bars would shrink too much. */
const markReach = 4;

/** Bars side by side for each category, with their spread and what bounds them. */
export function barChart(settings: {
  name: string;
  summary: string;
  categories: string[];
  unit: string;
  /** Beside the axis, where `format` writes no unit. */
  yLabel?: string;
  series: BarSeries[];
  format: (value: number) => string;
}): ChartSpecification {
  const { name, summary, categories, series, format, unit, yLabel } = settings;
  const x = categories.map((_, index) => index);
  const withMarks = series.some(({ marks }) => marks?.some((mark) => mark !== null));
  const highest = Math.max(
    1e-9,
    ...series.flatMap(({ values, spreads }) => [
      ...values.map((value) => value ?? 0),
      ...(spreads ?? []).map((spread) => spread?.[1] ?? 0),
    ]),
  );
  // A bound that is near enough has its place in the picture; one that is far away is told in words alone.
  const reach = Math.max(
    highest * 1.22,
    ...series.flatMap(({ marks }) =>
      (marks ?? []).map((mark) => (mark !== null && mark <= markReach * highest ? mark * 1.04 : 0)),
    ),
  );
  return {
    name,
    summary,
    table: {
      columns: [
        strings.charts.category,
        ...series.flatMap(({ label, spreads }) => [
          `${label} (${unit})`,
          ...(spreads ? [`${label} ${strings.charts.lowest}`, `${label} ${strings.charts.highest}`] : []),
        ]),
      ],
      rows: categories.map((category, index) => [
        category,
        ...series.flatMap(({ values, spreads }) => [
          values[index] ?? null,
          ...(spreads ? [spreads[index]?.[0] ?? null, spreads[index]?.[1] ?? null] : []),
        ]),
      ]),
    },
    legend: [
      // One series is what the title says.
      ...(series.length === 1 ? [] : series).map(({ label }, index) => ({
        label,
        colour: (colours: Parameters<ChartSpecification['options']>[0]) =>
          colours.series[index % colours.series.length] ?? '',
        shape: 'fill' as const,
      })),
      ...(withMarks
        ? [
            {
              label: strings.charts.roofline,
              colour: (colours: Parameters<ChartSpecification['options']>[0]) => colours.text,
              shape: 'dash' as const,
            },
          ]
        : []),
    ],
    data: [x, ...series.map(({ values }) => values)],
    describe: (index) =>
      [
        categories[index],
        ...series.map(
          ({ label, values, marks }) =>
            `${label}: ${values[index] == null ? '–' : format(values[index])}${
              marks?.[index] == null ? '' : ` (${strings.charts.roofline}: ${format(marks[index])})`
            }`,
        ),
      ].join('\n'),
    options: (colours) => ({
      cursor: { ...pointerCursor, x: false, y: false, points: { show: false } },
      scales: {
        x: { time: false, range: [-0.5, categories.length - 0.5] },
        y: { range: [0, reach] },
      },
      axes: [
        bottomAxis(colours, {
          splits: () => x,
          values: () => categories,
        }),
        axis(colours, {
          size: 56,
          ...(yLabel === undefined ? {} : { label: yLabel }),
          values: (_, ticks) => ticks.map((tick) => (tick === 0 ? '0' : format(tick))),
        }),
      ],
      series: [{}, ...series.map(() => ({ paths: () => null, points: { show: false } }))],
      hooks: {
        draw: [
          (plot) => {
            const { ctx, bbox } = plot;
            const pixel = devicePixelRatio;
            const slot = plot.valToPos(1, 'x', true) - plot.valToPos(0, 'x', true) || bbox.width;
            const width = Math.min((slot * 0.72) / series.length, 56 * pixel);
            const bottom = plot.valToPos(0, 'y', true);
            ctx.save();
            ctx.font = `${11 * pixel}px system-ui, sans-serif`;
            const drawn: (DrawnBar & { text: string })[] = [];
            const box = (left: number, top: number, right: number, end: number): Box => ({
              left,
              top,
              width: right - left,
              height: end - top,
            });
            for (const [place, { values, spreads, marks }] of series.entries()) {
              for (const index of x) {
                const value = values[index];
                if (value === null || value === undefined) continue;
                const left = plot.valToPos(index, 'x', true) + (place - series.length / 2) * width;
                const centre = left + width / 2;
                const top = plot.valToPos(value, 'y', true);
                ctx.fillStyle = colours.series[place % colours.series.length] ?? colours.accent;
                ctx.fillRect(left + pixel, top, width - 2 * pixel, bottom - top);
                const text = format(value);
                const own: (typeof drawn)[number] = {
                  bar: box(left + pixel, top, left + width - pixel, bottom),
                  marks: [],
                  textWidth: ctx.measureText(text).width,
                  text,
                };
                drawn.push(own);
                const spread = spreads?.[index];
                if (spread && spread[1] > spread[0]) {
                  const [low, high] = spread.map((end) => plot.valToPos(end, 'y', true)) as [number, number];
                  own.marks.push(box(centre - 4 * pixel, high, centre + 4 * pixel, low));
                  ctx.strokeStyle = colours.text;
                  ctx.lineWidth = 1.5 * pixel;
                  ctx.beginPath();
                  ctx.moveTo(centre, low);
                  ctx.lineTo(centre, high);
                  ctx.moveTo(centre - 4 * pixel, low);
                  ctx.lineTo(centre + 4 * pixel, low);
                  ctx.moveTo(centre - 4 * pixel, high);
                  ctx.lineTo(centre + 4 * pixel, high);
                  ctx.stroke();
                }
                const mark = marks?.[index];
                if (mark !== null && mark !== undefined && mark <= reach) {
                  const y = plot.valToPos(mark, 'y', true);
                  const ends = [left - 2 * pixel, left + width + 2 * pixel] as const;
                  own.marks.push(box(ends[0], y - pixel, ends[1], y + pixel));
                  ctx.strokeStyle = colours.text;
                  ctx.setLineDash([4 * pixel, 2 * pixel]);
                  ctx.beginPath();
                  ctx.moveTo(ends[0], y);
                  ctx.lineTo(ends[1], y);
                  ctx.stroke();
                  ctx.setLineDash([]);
                }
              }
            }
            ctx.textAlign = 'left';
            ctx.textBaseline = 'middle';
            const places = placeBarValues(drawn, { height: 14 * pixel, gap: 3 * pixel });
            for (const [index, { left, top, width: textWidth, height }] of places.entries()) {
              const own = drawn[index]!;
              const isInside = top > own.bar.top;
              if (isInside) {
                // On a ground of its own: no colour of a series is one that text is read on in both themes.
                ctx.fillStyle = colours.surface;
                ctx.fillRect(left - 2 * pixel, top, textWidth + 4 * pixel, height);
              }
              ctx.fillStyle = isInside ? colours.text : colours.axis;
              ctx.fillText(own.text, left, top + height / 2);
            }
            ctx.restore();
          },
        ],
      },
    }),
  };
}

/** Any metric against any other; one point a run. */
export function metricScatter(settings: {
  name: string;
  xLabel: string;
  yLabel: string;
  points: { label: string; x: number; y: number }[];
  formatX: (value: number) => string;
  formatY: (value: number) => string;
}): ChartSpecification {
  const { name, xLabel, yLabel, points, formatX, formatY } = settings;
  const sorted = [...points].sort((a, b) => a.x - b.x);
  const around = (values: number[]): [number, number] => {
    const low = Math.min(...values);
    const high = Math.max(...values);
    const room = (high - low || Math.abs(high) || 1) * 0.12;
    return [low >= 0 ? Math.max(0, low - room) : low - room, high + room];
  };
  return {
    name,
    summary: strings.charts.metricSummary(xLabel, yLabel, points.length),
    table: {
      columns: [strings.charts.run, xLabel, yLabel],
      rows: sorted.map((point) => [point.label, point.x, point.y]),
    },
    legend: [],
    data: [sorted.map((point) => point.x), sorted.map((point) => point.y)],
    describe: (index) => {
      const point = sorted[index];
      return point ? `${point.label}\n${formatX(point.x)} · ${formatY(point.y)}` : '';
    },
    options: (colours) => ({
      cursor: pointerCursor,
      scales: {
        x: { time: false, range: around(sorted.map((point) => point.x)) },
        y: { range: around(sorted.map((point) => point.y)) },
      },
      axes: [
        bottomAxis(colours, {
          label: xLabel,
          size: 30,
          space: 70,
          grid: { stroke: colours.grid, width: 1 },
          values: (_, ticks) => ticks.map(formatX),
        }),
        axis(colours, { size: 72, values: (_, ticks) => ticks.map(formatY) }),
      ],
      series: [
        {},
        {
          paths: () => null,
          points: {
            show: true,
            size: 9,
            width: 1.5,
            stroke: colours.series[0],
            fill: colours.series[0],
            space: 0,
          },
        },
      ],
      hooks: {
        draw: [(plot) => drawPointNames(plot, sorted, colours)],
      },
    }),
  };
}
