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

test('what was measured with other activations says so, and the kernels are named', () => {
  const made = { ...quantizedRun('gptq-4', 4.25), activationBits: 8 };
  const judged = judgedRun('gptq-4', { perplexityRatio: 1.02 });
  expect(detailOf(made, [{ ...judged, activationBits: 4 }], null)).toMatch(
    /context 128\n {4}with activations of 4 bits; made for 8\n/,
  );
  expect(detailOf(made, [{ ...judged, activationBits: 8 }], null)).not.toContain('with activations of');
  const measured = { ...judged, results: { benchmark: { kernelPath: 'avx2' } } };
  expect(detailOf(measured, [], null)).toMatch(/\ncomputed by {2,}avx2\n/);
});
