import type uPlot from 'uplot';
import type { Table } from './csv.ts';
import type { ChartColours } from './theme.ts';

/** What is drawn, without where: builders give one, ChartFrame shows it and writes it as PNG and CSV. */
export interface ChartSpecification {
  /** File name without its ending, and what assistive technology hears. */
  name: string;
  summary: string;
  /** What the picture is made of; numbers are written in full. */
  table: Table;
  legend: {
    label: string;
    colour: (colours: ChartColours) => string;
    shape?: 'line' | 'dot' | 'fill' | 'dash';
  }[];
  data: uPlot.AlignedData;
  /** What the point at this place of the x values is, in words. */
  describe?: (index: number) => string;
  options: (colours: ChartColours) => Omit<uPlot.Options, 'width' | 'height' | 'legend'>;
}

const font = '11px system-ui, sans-serif';

/** An axis in the studio's dress. */
export function axis(colours: ChartColours, more: Partial<uPlot.Axis> = {}): uPlot.Axis {
  return {
    stroke: colours.axis,
    font,
    labelFont: font,
    labelSize: 16,
    labelGap: 0,
    gap: 4,
    size: 44,
    grid: { stroke: colours.grid, width: 1 },
    ticks: { show: false },
    border: { show: false },
    ...more,
  };
}

/** Only whole powers of ten: the lines between them are noise at this size. */
export function powersOfTen(_: uPlot, splits: number[]): (number | null)[] {
  return splits.map((split) => (Math.abs(Math.log10(split) % 1) < 1e-9 ? split : null));
}

/** An axis below. */
export function bottomAxis(colours: ChartColours, more: Partial<uPlot.Axis> = {}): uPlot.Axis {
  return axis(colours, { size: 26, grid: { show: false }, ...more });
}

export const noCursor: uPlot.Cursor = { show: false };

/** Follows the pointer without a box to select. */
export const pointerCursor: uPlot.Cursor = {
  drag: { x: false, y: false, setScale: false },
  points: { size: 7, width: 1.5 },
};
