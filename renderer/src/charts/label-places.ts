/** Where the names of points stand in a chart, so that they cover neither each other nor a point. Lengths are pixels of the canvas. */

export interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
}

export interface NamedPoint {
  x: number;
  y: number;
  /** Of the name as it is written. */
  width: number;
  /** Whether its name is written even where it covers other points. */
  isChosen?: boolean;
}

export interface LabelRoom {
  /** Names stay within. */
  bounds: Box;
  /** Of a line of text. */
  height: number;
  /** From a point's centre to its name. */
  gap: number;
  /** Half the side of the square that a point takes. */
  radius: number;
  /** Lines that names rather do not cross. */
  lines?: Box[];
}

/**
 * The box of each name, in the order of the points, null where there is no room for it. Points that come first choose first: beside the point, then above or
 * below it; across a line only where nothing else is left. No name covers another.
 */
export function placeLabels(points: readonly NamedPoint[], room: LabelRoom): (Box | null)[] {
  const { bounds, radius, lines = [] } = room;
  const marks = points.map(({ x, y }) => ({
    left: x - radius,
    top: y - radius,
    width: 2 * radius,
    height: 2 * radius,
  }));
  const taken: Box[] = [];
  return points.map((point) => {
    const possible = placesAround(point, room).filter(
      (place) => isWithin(place, bounds) && !taken.some((other) => overlap(place, other)),
    );
    const free = possible.filter((place) => !marks.some((mark) => overlap(place, mark)));
    const place =
      free.find((each) => !lines.some((line) => overlap(each, line))) ??
      free[0] ??
      (point.isChosen ? possible[0] : undefined) ??
      null;
    if (place) taken.push(place);
    return place;
  });
}

function placesAround({ x, y, width }: NamedPoint, { height, gap, radius }: LabelRoom): Box[] {
  const box = (left: number, top: number): Box => ({ left, top, width, height });
  const above = y - radius - height;
  const below = y + radius;
  return [
    box(x + gap, y - height / 2),
    box(x - gap - width, y - height / 2),
    box(x + gap, y - height),
    box(x + gap, y),
    box(x - gap - width, y - height),
    box(x - gap - width, y),
    box(x, above),
    box(x, below),
    box(x - width, above),
    box(x - width, below),
    box(x - width / 2, above),
    box(x - width / 2, below),
  ];
}

function isWithin(inner: Box, outer: Box): boolean {
  return (
    inner.left >= outer.left &&
    inner.top >= outer.top &&
    inner.left + inner.width <= outer.left + outer.width &&
    inner.top + inner.height <= outer.top + outer.height
  );
}

export function overlap(a: Box, b: Box): boolean {
  return (
    a.left < b.left + b.width &&
    b.left < a.left + a.width &&
    a.top < b.top + b.height &&
    b.top < a.top + a.height
  );
}
