import { expect, test } from 'vitest';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import { type DrawnBar, placeBarValues } from '../../renderer/src/charts/bar-values.ts';
import { overlap } from '../../renderer/src/charts/label-places.ts';
import { ratioAxisEnd, ratioTicks } from '../../renderer/src/charts/ratio-axis.ts';

const room = { height: 14, gap: 3 };
const bottom = 200;

function bar(left: number, width: number, height: number, textWidth: number, spread = 0): DrawnBar {
  const top = bottom - height;
  return {
    bar: { left, top, width, height },
    marks:
      spread === 0 ? [] : [{ left: left + width / 2 - 4, top: top - spread, width: 8, height: 2 * spread }],
    textWidth,
  };
}

test('a value stands in the foot of its bar where it fits, away from the ends of the spread', () => {
  const [box] = placeBarValues([bar(10, 50, 120, 30, 20)], room);
  expect(box).toEqual({ left: 20, top: 183, width: 30, height: 14 });
});

test('else above all that is drawn of the bar', () => {
  for (const narrow of [bar(10, 20, 120, 30, 20), bar(10, 50, 12, 30, 20), bar(10, 50, 30, 30, 25)]) {
    const [box] = placeBarValues([narrow], room);
    expect(box!.top + box!.height).toBe(Math.min(narrow.bar.top, narrow.marks[0]!.top) - 3);
  }
});

test('no value covers another, nor anything that is drawn of another bar', () => {
  const random = new SeededRandom(3);
  for (let round = 0; round < 300; round++) {
    const width = 8 + 40 * random.nextDouble();
    const drawn = Array.from({ length: 2 + Math.floor(6 * random.nextDouble()) }, (_, index) =>
      bar(
        10 + index * width,
        width - 2,
        5 + 150 * random.nextDouble(),
        15 + 40 * random.nextDouble(),
        30 * random.nextDouble(),
      ),
    );
    const boxes = placeBarValues(drawn, room);
    for (const [index, box] of boxes.entries()) {
      for (const other of boxes.slice(index + 1)) expect(overlap(box, other)).toBe(false);
      for (const [at, { bar: otherBar, marks }] of drawn.entries()) {
        if (at !== index) expect(overlap(box, otherBar)).toBe(false);
        for (const mark of marks) expect(overlap(box, mark)).toBe(false);
      }
    }
  }
});

test('the axis of ratios ends where the points do, and no further than matters', () => {
  expect(ratioAxisEnd([1.02, 1.4, 1.9], 2)).toBeCloseTo(2.76);
  expect(ratioAxisEnd([1.02, 3], 2)).toBeCloseTo(3.45);
  // One recipe that is all broken does not press the others to the bottom.
  expect(ratioAxisEnd([1.02, 1425], 2)).toBe(7);
  expect(ratioAxisEnd([], 2)).toBeCloseTo(2.76);
});

test('its ticks are ratios that verdicts are about, with room between them', () => {
  expect(ratioTicks(2.76)).toEqual([1, 1.25, 1.5, 2]);
  expect(ratioTicks(4)).toEqual([1, 1.25, 1.5, 2, 3]);
  expect(ratioTicks(10)).toEqual([1, 1.25, 2, 3, 5, 10]);
  expect(ratioTicks(100)).toEqual([1, 1.5, 3, 5, 10, 20, 50, 100]);
});
