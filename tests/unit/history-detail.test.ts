import { expect, test } from 'vitest';
import { detailOf } from '../../engine/cli/commands/history-detail.ts';
import { judgedRun, quantizedRun } from '../end-to-end/judged-later.ts';

test('what was measured later names its device where that is not the CPU', () => {
  const shown = (device?: string) =>
    detailOf(
      quantizedRun('gptq-4', 4.25),
      [judgedRun('gptq-4', { perplexityRatio: 1.02, ...(device === undefined ? {} : { device }) })],
      null,
    );
  expect(shown('SwiftShader Device')).toMatch(
    /× the original's: usable\n {4}on .*, 2,032 tokens, context 128\n {4}computed on SwiftShader Device\n/,
  );
  expect(shown()).not.toContain('computed on');
});
