import uPlot from 'uplot';
import { bytes, percent } from '../format/numbers.ts';
import { strings } from '../strings/index.ts';
import { axis, bottomAxis, type ChartSpecification, pointerCursor } from './chart.ts';

/** Where the bytes are: one bar an item, largest first. */
export function sizeChart(name: string, items: { name: string; bytes: number }[]): ChartSpecification {
  const sorted = items.filter((item) => item.bytes > 0).sort((a, b) => b.bytes - a.bytes);
  const total = sorted.reduce((sum, item) => sum + item.bytes, 0);
  const label = (item: string) => strings.bytesOf[item] ?? item;
  // Drawn downwards: the x scale stands upright, its first entry on top.
  const x = sorted.map((_, index) => index);
  return {
    name,
    summary: strings.charts.sizeSummary(bytes(total)),
    table: {
      columns: [strings.charts.item, strings.charts.bytes],
      rows: sorted.map((item) => [label(item.name), Math.round(item.bytes)]),
    },
    legend: [],
    data: [x, sorted.map((item) => item.bytes)],
    describe: (index) => {
      const item = sorted[index];
      return item ? `${label(item.name)} · ${bytes(item.bytes)} · ${percent(item.bytes / total, 1)}` : '';
    },
    options: (colours) => ({
      cursor: { ...pointerCursor, x: false, y: false, points: { show: false } },
      scales: {
        x: { time: false, ori: 1, dir: -1, range: [-0.6, Math.max(sorted.length, 1) - 0.4] },
        y: { ori: 0, range: (_, __, most) => [0, (most || 1) * 1.18] },
      },
      axes: [
        axis(colours, {
          side: 3,
          size: 150,
          grid: { show: false },
          splits: () => x,
          values: () => sorted.map((item) => label(item.name)),
        }),
        bottomAxis(colours, {
          side: 2,
          space: 84,
          grid: { stroke: colours.grid, width: 1 },
          values: (_, ticks) => ticks.map((tick) => bytes(tick)),
        }),
      ],
      series: [
        {},
        {
          points: { show: false },
          paths: uPlot.paths.bars?.({ size: [0.62, 20] }),
          fill: colours.series[0],
          width: 0,
        },
      ],
      hooks: {
        draw: [
          (plot) => {
            const { ctx } = plot;
            ctx.save();
            ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
            ctx.textBaseline = 'middle';
            ctx.textAlign = 'left';
            for (const [index, item] of sorted.entries()) {
              const text = bytes(item.bytes);
              const { width } = ctx.measureText(text);
              const gap = 6 * devicePixelRatio;
              const left = plot.valToPos(item.bytes, 'y', true) + gap;
              const y = plot.valToPos(index, 'x', true);
              const fits = left + width <= ctx.canvas.width;
              // Where there is no room beside the bar it stands on its end.
              ctx.fillStyle = fits ? colours.axis : colours.surface;
              ctx.fillText(text, fits ? left : left - 2 * gap - width, y);
            }
            ctx.restore();
          },
        ],
      },
    }),
  };
}

/** Height that gives every bar its room. */
export function sizeChartHeight(items: number): number {
  return 34 + Math.max(1, items) * 26;
}
