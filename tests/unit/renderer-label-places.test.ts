import { expect, test } from 'vitest';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import { type Box, placeLabels } from '../../renderer/src/charts/label-places.ts';

const room = {
  bounds: { left: 40, top: 0, width: 400, height: 200 },
  height: 13,
  gap: 7,
  radius: 4,
};

const overlap = (a: Box, b: Box) =>
  Math.min(a.left + a.width, b.left + b.width) > Math.max(a.left, b.left) &&
  Math.min(a.top + a.height, b.top + b.height) > Math.max(a.top, b.top);

test('a name alone stands to the right of its point, or to the left where the picture ends', () => {
  const [right] = placeLabels([{ x: 100, y: 100, width: 50 }], room);
  expect(right).toEqual({ left: 107, top: 93.5, width: 50, height: 13 });
  const [left] = placeLabels([{ x: 420, y: 100, width: 50 }], room);
  expect(left).toEqual({ left: 363, top: 93.5, width: 50, height: 13 });
});

test('of two in the same place the first has the better one', () => {
  const point = { x: 100, y: 100, width: 50 };
  const [first, second] = placeLabels([point, point], room);
  expect(first?.left).toBe(107);
  expect(second).not.toBeNull();
  expect(overlap(first!, second!)).toBe(false);
});

test('a name keeps off lines where it can, and is not lost where it cannot', () => {
  const line = { left: 0, top: 100, width: 500, height: 1 };
  const [moved] = placeLabels([{ x: 100, y: 100, width: 50 }], { ...room, lines: [line] });
  expect(overlap(moved!, line)).toBe(false);
  const everywhere = { left: 0, top: 0, width: 500, height: 200 };
  expect(placeLabels([{ x: 100, y: 100, width: 50 }], { ...room, lines: [everywhere] })[0]).not.toBeNull();
});

test('the name of a chosen point is written even where it covers others', () => {
  const around = [-12, -6, 6, 12].flatMap((dx) =>
    [-12, -6, 0, 6, 12].map((dy) => ({ x: 100 + dx, y: 100 + dy, width: 50 })),
  );
  const centre = { x: 100, y: 100, width: 50 };
  expect(placeLabels([centre, ...around], room)[0]).toBeNull();
  expect(placeLabels([{ ...centre, isChosen: true }, ...around], room)[0]).not.toBeNull();
});

test('however crowded, names cover neither each other nor a point, and stay in the picture', () => {
  const random = new SeededRandom(7);
  for (let round = 0; round < 50; round++) {
    const points = Array.from({ length: 30 }, () => ({
      x: 40 + random.nextDouble() * 400,
      y: random.nextDouble() * 200,
      width: 20 + random.nextDouble() * 80,
    }));
    const boxes = placeLabels(points, room);
    const placed = boxes.filter((box) => box !== null);
    expect(placed.length).toBeGreaterThan(0);
    for (const [index, box] of placed.entries()) {
      expect(box.left).toBeGreaterThanOrEqual(40);
      expect(box.left + box.width).toBeLessThanOrEqual(440);
      expect(box.top).toBeGreaterThanOrEqual(0);
      expect(box.top + box.height).toBeLessThanOrEqual(200);
      for (const other of placed.slice(index + 1)) expect(overlap(box, other)).toBe(false);
      for (const { x, y } of points)
        expect(overlap(box, { left: x - 4, top: y - 4, width: 8, height: 8 })).toBe(false);
    }
  }
});
