import type uPlot from 'uplot';
import { type Box, placeLabels } from './label-places.ts';
import type { ChartColours } from './theme.ts';

/** One point of a scatter, in the chart's own units. */
export interface PointName {
  label: string;
  x: number;
  y: number;
  isChosen?: boolean;
}

const fontSize = 11;
const lineHeight = 13;

/** Writes the names of points where there is room for them; `points` in the order in which they choose, `lines` by their values on the axes. */
export function drawPointNames(
  plot: uPlot,
  points: readonly PointName[],
  colours: ChartColours,
  lines: { x?: number; y?: number }[] = [],
): void {
  const { ctx, bbox } = plot;
  const pixel = devicePixelRatio;
  ctx.save();
  ctx.font = `${fontSize * pixel}px system-ui, sans-serif`;
  ctx.textBaseline = 'middle';
  ctx.textAlign = 'left';
  const boxes = placeLabels(
    points.map(({ label, x, y, isChosen }) => ({
      isChosen,
      x: plot.valToPos(x, 'x', true),
      y: plot.valToPos(y, 'y', true),
      width: ctx.measureText(label).width,
    })),
    {
      bounds: {
        left: bbox.left,
        top: 0,
        width: ctx.canvas.width - bbox.left,
        height: bbox.top + bbox.height,
      },
      height: lineHeight * pixel,
      gap: 8 * pixel,
      radius: 3.5 * pixel,
      lines: lines.map(({ x, y }): Box => {
        if (x !== undefined)
          return { left: plot.valToPos(x, 'x', true), top: 0, width: pixel, height: ctx.canvas.height };
        return { left: 0, top: plot.valToPos(y ?? 0, 'y', true), width: ctx.canvas.width, height: pixel };
      }),
    },
  );
  for (const [index, box] of boxes.entries()) {
    const point = points[index];
    if (!box || !point) continue;
    ctx.fillStyle = point.isChosen ? colours.text : colours.axis;
    ctx.fillText(point.label, box.left, box.top + box.height / 2);
  }
  ctx.restore();
}
