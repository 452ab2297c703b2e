import { expect, test } from 'vitest';
import { detailOf, shownValue } from '../../engine/cli/commands/history-detail.ts';
import type { JsonObject } from '../../engine/contract/common.ts';
import { runOf } from '../end-to-end/seeded-history.ts';

const subject = (model: string, stable: boolean, othersBusyShareBefore: number | null) => ({
  model,
  stable,
  stabilityNotes: stable ? [] : ['the repetitions of decode at 0 differ by 88% (limit 10%)'],
  conditions: { othersBusyShareBefore, stolenShare: 0.004 },
});
const shown = (benchmark: JsonObject) =>
  detailOf(
    runOf({ runId: 'timed', kind: 'benchmark', metrics: { benchmarkStable: 0 }, results: { benchmark } }),
    [],
    null,
  ).replace(/ {2,}/g, '  ');

test('a benchmark says whether it was stable in words, and what others took of the processors', () => {
  const text = shown(subject('/packages/gptq-4', false, 0.528));
  expect(text).toContain('benchmark was stable  no');
  expect(shownValue('baselineStable', 1)).toBe('yes');
  expect(text).toContain('conditions\n  other programs before  52.8%\n  taken by the host  0.4%');
  expect(text).toContain('unstable\n  the repetitions of decode at 0 differ by 88%');
});

test('what is not known of its conditions is left out', () => {
  const { conditions: _, ...older } = subject('/packages/gptq-4', true, null);
  expect(shown(older)).not.toContain('conditions\n');
  expect(shown(older)).toContain('verdict  stable');
});

test('of two models each is named with its own reasons and conditions', () => {
  const text = shown({
    ...subject('/packages/gptq-4', true, 0.02),
    baseline: subject('/models/stories', false, 0.528),
  });
  expect(text).toContain('gptq-4: stable');
  expect(text).toContain('stories: the repetitions of decode at 0 differ by 88%');
  expect(text).toContain('baseline: other programs before  52.8%');
});
