import { expect, test } from 'vitest';
import { threads } from '../../engine/native/index.ts';

test('the thread count of the native loops can be set and 0 means all cores', () => {
  threads.setThreadCount(1);
  expect(threads.threadCount()).toBe(1);
  threads.setThreadCount(0);
  expect(threads.threadCount()).toBeGreaterThanOrEqual(1);
});
