import { type Box, overlap } from './label-places.ts';

/** Where the values of bars stand, so that they cover neither each other nor what is drawn of another bar. Lengths are pixels of the canvas. */

export interface DrawnBar {
  bar: Box;
  /** Its spread and its bound, as far as they are drawn. */
  marks: Box[];
  /** Of the value as it is written. */
  textWidth: number;
}

export interface ValueRoom {
  /** Of a line of text. */
  height: number;
  /** Between a value and what it stands at. */
  gap: number;
}

/**
 * The box of each value: in the foot of its bar where it fits, so that it is read as the bar's and not as its spread's end; else above the bar and all that is drawn of
 * it, as far up as is free.
 */
export function placeBarValues(drawn: readonly DrawnBar[], { height, gap }: ValueRoom): Box[] {
  const obstacles = drawn.flatMap(({ bar, marks }) => [bar, ...marks]);
  const taken: Box[] = [];
  return drawn.map(({ bar, marks, textWidth }) => {
    const left = bar.left + (bar.width - textWidth) / 2;
    const foot = { left, top: bar.top + bar.height - gap - height, width: textWidth, height };
    const fits = bar.width >= textWidth + 2 * gap && bar.height >= height + 2 * gap;
    const box = fits && !marks.some((mark) => overlap(mark, foot)) ? foot : null;
    if (box) {
      taken.push(box);
      return box;
    }
    const above = { ...foot, top: Math.min(bar.top, ...marks.map(({ top }) => top)) - gap - height };
    for (;;) {
      const hit = [...obstacles, ...taken].filter((other) => overlap(other, above));
      if (hit.length === 0) break;
      above.top = Math.min(...hit.map(({ top }) => top)) - gap - height;
    }
    taken.push(above);
    return above;
  });
}
