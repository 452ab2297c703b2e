import { expect, test } from 'vitest';
import { jobStages } from '../../engine/contract/jobs.ts';
import { stageName, tasksAfter } from '../../renderer/src/format/progress.ts';
import { sentence } from '../../renderer/src/format/texts.ts';
import { strings } from '../../renderer/src/strings/index.ts';

const job = { tasks: ['quantize', 'verify', 'quality', 'benchmark'] as const } as unknown as Parameters<
  typeof tasksAfter
>[0];

test('before there is any progress the first task is under way, and the others follow', () => {
  expect(tasksAfter(job, null)).toEqual(['verify', 'quality', 'benchmark']);
  expect(tasksAfter(job, { task: 'quality' })).toEqual(['benchmark']);
  expect(tasksAfter(job, { task: 'benchmark' })).toEqual([]);
});

test('what follows is not taken for minutes', () => {
  expect(strings.strip.left('1–3 min', 0)).toBe('1–3 min left');
  expect(strings.strip.left('1–3 min', 1)).toBe('1–3 min left, then 1 more task');
  expect(strings.strip.left('1–3 min', 3)).toBe('1–3 min left, then 3 more tasks');
});

test('a message becomes a sentence, a name stays as it is written', () => {
  expect(sentence('the weight file is larger')).toBe('The weight file is larger');
  expect(sentence('note: as it is')).toBe('Note: as it is');
  expect(sentence('config.json is missing')).toBe('config.json is missing');
  expect(sentence('grid-4 has no text')).toBe('grid-4 has no text');
  expect(sentence('/home/a: no such folder')).toBe('/home/a: no such folder');
});

test('every stage that the engine sends has a name of its own, with the number behind it where there is one', () => {
  const named = (stage: string) => stageName({ stage } as Parameters<typeof stageName>[0]);
  expect(jobStages.filter((stage) => named(stage) === stage)).toEqual([]);
  expect(named('prefill 1024')).toBe('Timing prefill of 1,024');
  expect(named('what a newer engine does')).toBe('what a newer engine does');
});
