import { expect, test } from 'vitest';
import { quantizeLayer } from '../../engine/quantize/layer.ts';
import { resolveRecipe } from '../../engine/quantize/resolve-recipe.ts';

test('a scale beyond fp16 is cut and the layer says so', () => {
  const linear = { role: 'q', name: 'wide', inFeatures: 4, outFeatures: 2, bias: null } as const;
  const weight = Float32Array.from([1e6, -1e6, 1e6, -1e6, 1, -1, 1, -1]);
  const recipe = resolveRecipe('rtn-1', {}, 16, 'llama');
  const { notes, dequantized } = quantizeLayer(linear, weight, null, null, null, recipe);
  expect(notes).toContain('1 scales or means were larger than fp16 can hold and were cut to ±65504');
  expect([...dequantized].every(Number.isFinite)).toBe(true);
  expect([...dequantized.subarray(4)]).toEqual([1, -1, 1, -1]);
});
