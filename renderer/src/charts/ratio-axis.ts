/** The axis of ratios of perplexity: logarithmic, from a little below 1 to what the points need, and no further than matters. */

/** A point below stands on the axis. */
export const leastRatio = 0.9;

/** How many times the worst ratio that is still degraded: beyond it one kind of broken text is like another, and would take the room of those that are not broken. */
const reachOfDegraded = 3.5;

/** Above the highest point, for its mark. */
const roomAbove = 1.15;

/** Where the axis ends; points beyond stand at its end, with their value. */
export function ratioAxisEnd(ratios: readonly number[], degraded: number): number {
  return Math.min(reachOfDegraded * degraded, roomAbove * Math.max(1.2 * degraded, ...ratios));
}

const candidates = [1, 1.25, 1.5, 2, 3, 5, 10, 20, 50, 100];

/** Least distance of two ticks, as a share of the axis. */
const leastDistance = 0.085;

/** Ratios that are written at an axis that ends at `end`; 1 is the original's. */
export function ratioTicks(end: number): number[] {
  const length = Math.log(end / leastRatio);
  const ticks: number[] = [];
  for (const tick of candidates) {
    const last = ticks.at(-1);
    if (tick <= end && (last === undefined || Math.log(tick / last) >= leastDistance * length))
      ticks.push(tick);
  }
  return ticks;
}
