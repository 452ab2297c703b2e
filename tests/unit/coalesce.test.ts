import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { coalesce } from '../../engine/service/coalesce.ts';

beforeEach(() => vi.useFakeTimers());
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

test('the first value passes at once, of the rest the newest of each interval', () => {
  const delivered: number[] = [];
  const { push } = coalesce<number>(100, (value) => delivered.push(value));
  push(1);
  push(2);
  push(3);
  expect(delivered).toEqual([1]);
  vi.advanceTimersByTime(100);
  expect(delivered).toEqual([1, 3]);
  vi.advanceTimersByTime(1000);
  expect(delivered).toEqual([1, 3]);
  push(4);
  expect(delivered).toEqual([1, 3, 4]);
});

test('a value that is due is delivered although timers are starved', () => {
  const delivered: number[] = [];
  const { push } = coalesce<number>(100, (value) => delivered.push(value));
  push(1);
  push(2);
  vi.setSystemTime(Date.now() + 150);
  vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 150);
  push(3);
  expect(delivered).toEqual([1, 3]);
});

test('flush delivers what is held, once; cancel drops it', () => {
  const delivered: string[] = [];
  const text = coalesce<string>(
    100,
    (value) => delivered.push(value),
    (held, next) => held + next,
  );
  text.push('a');
  text.push('b');
  text.push('c');
  text.flush();
  text.flush();
  expect(delivered).toEqual(['a', 'bc']);
  text.push('d');
  text.cancel();
  vi.advanceTimersByTime(1000);
  expect(delivered).toEqual(['a', 'bc']);
});

test('a burst passes at once, what comes beyond it is held back and merged', () => {
  const delivered: number[] = [];
  const { push } = coalesce<number>(100, (value) => delivered.push(value), undefined, 3);
  for (const value of [1, 2, 3, 4, 5]) push(value);
  expect(delivered).toEqual([1, 2, 3]);
  vi.advanceTimersByTime(100);
  expect(delivered).toEqual([1, 2, 3, 5]);
  // That was the first of the next interval.
  for (const value of [6, 7, 8, 9]) push(value);
  expect(delivered).toEqual([1, 2, 3, 5, 6, 7]);
  vi.advanceTimersByTime(1000);
  expect(delivered).toEqual([1, 2, 3, 5, 6, 7, 9]);
});

test('a timer that fires a little early begins the next interval', () => {
  const delivered: number[] = [];
  const { push } = coalesce<number>(100, (value) => delivered.push(value));
  const start = performance.now();
  const clock = vi.spyOn(performance, 'now');
  clock.mockReturnValue(start);
  push(1);
  push(2);
  clock.mockReturnValue(start + 99.6);
  vi.advanceTimersByTime(100);
  expect(delivered).toEqual([1, 2]);
  clock.mockReturnValue(start + 101);
  push(3);
  expect(delivered).toEqual([1, 2]);
  clock.mockReturnValue(start + 200);
  vi.advanceTimersByTime(100);
  expect(delivered).toEqual([1, 2, 3]);
});
