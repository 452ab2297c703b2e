import type uPlot from 'uplot';
import { bitsPerWeight, decimal, significant, typed } from '../format/numbers.ts';
import { strings } from '../strings/index.ts';
import { axis, bottomAxis, type ChartSpecification, pointerCursor } from './chart.ts';
import { drawPointNames } from './point-names.ts';
import { leastRatio, ratioAxisEnd, ratioTicks } from './ratio-axis.ts';
import { type ChartColours, withOpacity } from './theme.ts';

/** One measured recipe. */
export interface RecipePoint {
  recipe: string;
  model: string;
  activationBits: number;
  storedBitsPerWeight: number;
  /** Perplexity divided by the full-precision model's on the same text. */
  ratio: number;
  /** Share of positions with the same next token as the original's; null where that was not measured. */
  topTokenAgreement: number | null;
  source: 'bundled' | 'own';
  /** Of the model at hand, or of another one. */
  sameModel: boolean;
}

const words = strings.charts;
/** Of the axis, where the points lie closer together. */
const leastBitsShown = 2;
/** Of a filled point, in pixels; the others' are 3.5. */
const chosenRadius = 4.5;

/** One point of each recipe, for its name; the others of it, such as those at other activation bits, tell theirs under the pointer. */
function namedOnce(points: readonly RecipePoint[]): RecipePoint[] {
  return [...new Map([...points].reverse().map((point) => [point.recipe, point])).values()].reverse();
}

/** Stored bits against the ratio of perplexities, with the borders of the verdict. `chosen` are recipes whose points are filled. */
export function recipeScatter(
  points: RecipePoint[],
  chosen: { recipe: string | null; storedBitsPerWeight: number | null },
  thresholds: { usable: number; degraded: number },
): ChartSpecification {
  const sorted = [...points].sort((a, b) => a.storedBitsPerWeight - b.storedBitsPerWeight);
  const x = sorted.map((point) => point.storedBitsPerWeight);
  const end = ratioAxisEnd(
    sorted.map(({ ratio }) => ratio),
    thresholds.degraded,
  );
  const shown = (ratio: number) => Math.min(end, Math.max(ratio, leastRatio));
  // As wide as the points and the chosen one need, with room for the names to the right of the last.
  const bits = chosen.storedBitsPerWeight === null ? x : [...x, chosen.storedBitsPerWeight];
  const leastBits = Math.min(...bits);
  const width = Math.max(leastBitsShown, Math.max(...bits) - leastBits);
  const bitsFrom = leastBits - 0.04 * width;
  const bitsTo = leastBits + 1.16 * width;
  const of = (source: RecipePoint['source']) =>
    sorted.map((point) => (point.source === source ? shown(point.ratio) : null));
  return {
    name: 'recipes',
    summary: words.scatterSummary(points.length),
    table: {
      columns: [
        words.model,
        words.recipe,
        words.activationBits,
        words.storedBits,
        words.perplexityRatio,
        words.source,
      ],
      rows: sorted.map((point) => [
        point.model,
        point.recipe,
        point.activationBits,
        point.storedBitsPerWeight,
        point.ratio,
        words.sources[point.source],
      ]),
    },
    legend: [
      { label: words.sources.bundled, colour: (colours) => colours.series[0] ?? '', shape: 'dot' },
      ...(points.some(({ source }) => source === 'own')
        ? [
            {
              label: words.sources.own,
              colour: (c: ChartColours) => c.series[1] ?? '',
              shape: 'dot' as const,
            },
          ]
        : []),
      {
        label: words.usableUpTo(decimal(thresholds.usable, 2)),
        colour: (colours) => colours.good,
        shape: 'dash',
      },
      {
        label: words.degradedUpTo(decimal(thresholds.degraded, 0)),
        colour: (colours) => colours.bad,
        shape: 'dash',
      },
    ],
    data: [x, of('bundled'), of('own')],
    describe: (index) => {
      const point = sorted[index];
      return point
        ? `${point.recipe} · A${point.activationBits} · ${bitsPerWeight(point.storedBitsPerWeight)} · ${significant(point.ratio)}×\n${point.model}`
        : '';
    },
    options: (colours) => {
      const dot = (colour: string) => ({
        paths: () => null,
        points: {
          show: true,
          size: 7,
          width: 1.5,
          stroke: colour,
          fill: withOpacity(colour, 0.35),
          space: 0,
        },
      });
      return {
        cursor: { ...pointerCursor, points: { size: 10, width: 2 } },
        scales: {
          x: { time: false, range: [bitsFrom, bitsTo] },
          y: { distr: 3, range: [leastRatio, end] },
        },
        axes: [
          bottomAxis(colours, {
            label: words.storedBits,
            size: 30,
            grid: { stroke: colours.grid, width: 1 },
          }),
          axis(colours, {
            label: words.timesOriginal,
            size: 40,
            splits: () => ratioTicks(end),
            filter: (_, ticks) => ticks,
            grid: { stroke: colours.grid, width: 1, filter: (_, ticks) => ticks },
            values: (_, ticks) => ticks.map((tick) => `${typed(tick)}×`),
          }),
        ],
        series: [{}, dot(colours.series[0] ?? colours.accent), dot(colours.series[1] ?? colours.accent)],
        hooks: {
          drawAxes: [
            (plot) => {
              const { ctx, bbox } = plot;
              ctx.save();
              ctx.lineWidth = devicePixelRatio;
              ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
              for (const [value, colour] of [
                [thresholds.usable, colours.good],
                [thresholds.degraded, colours.bad],
              ] as const) {
                const y = plot.valToPos(value, 'y', true);
                ctx.strokeStyle = colour;
                ctx.beginPath();
                ctx.moveTo(bbox.left, y);
                ctx.lineTo(bbox.left + bbox.width, y);
                ctx.stroke();
              }
              if (chosen.storedBitsPerWeight !== null) {
                const at = plot.valToPos(chosen.storedBitsPerWeight, 'x', true);
                ctx.setLineDash([]);
                ctx.strokeStyle = colours.accent;
                ctx.beginPath();
                ctx.moveTo(at, bbox.top);
                ctx.lineTo(at, bbox.top + bbox.height);
                ctx.stroke();
              }
              ctx.restore();
            },
          ],
          draw: [
            (plot) => {
              fillPoints(
                plot,
                sorted.filter(({ recipe }) => recipe === chosen.recipe),
                shown,
                colours.accent,
              );
              drawPointNames(
                plot,
                namedOnce(sorted)
                  .sort((a, b) => Number(b.recipe === chosen.recipe) - Number(a.recipe === chosen.recipe))
                  .map((point) => ({
                    label:
                      point.ratio > end ? `${point.recipe} ↑ ${significant(point.ratio)}×` : point.recipe,
                    x: point.storedBitsPerWeight,
                    y: shown(point.ratio),
                    isChosen: point.recipe === chosen.recipe,
                  })),
                colours,
                [
                  { y: thresholds.usable },
                  { y: thresholds.degraded },
                  ...(chosen.storedBitsPerWeight === null ? [] : [{ x: chosen.storedBitsPerWeight }]),
                ],
              );
            },
          ],
        },
      };
    },
  };
}

/** So that the chosen recipe is found among the others, wherever its name had room. */
function fillPoints(
  plot: uPlot,
  points: readonly RecipePoint[],
  shown: (ratio: number) => number,
  colour: string,
): void {
  const { ctx } = plot;
  ctx.save();
  ctx.fillStyle = colour;
  for (const { storedBitsPerWeight, ratio } of points) {
    ctx.beginPath();
    ctx.arc(
      plot.valToPos(storedBitsPerWeight, 'x', true),
      plot.valToPos(shown(ratio), 'y', true),
      chosenRadius * devicePixelRatio,
      0,
      2 * Math.PI,
    );
    ctx.fill();
  }
  ctx.restore();
}
