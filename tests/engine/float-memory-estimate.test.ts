import { expect, test } from 'vitest';
import { createFloatEngine } from '../../engine/float/engine.ts';
import { gramPanels } from '../../engine/float/gram.ts';
import { blockWeightBytes, floatMemoryEstimate } from '../../engine/float/memory-estimate.ts';
import { tinyModel } from './float-tiny-model.ts';

test('what is allocated from the shapes alone is estimated to the byte', async () => {
  const source = tinyModel({ biases: true, headNorms: true });
  const { architecture } = source;
  const engine = await createFloatEngine(source, { threads: 1 });
  let weightBytes = 0;
  for (const array of engine.loadBlock(0).values()) weightBytes += array.byteLength;
  expect(blockWeightBytes(architecture)).toBe(weightBytes);
  const estimate = floatMemoryEstimate(architecture, 100);
  expect(estimate.blockWeights).toBe(weightBytes);
  expect(estimate.gramMatrices['mlp-out']).toBe(engine.newGram(40).matrix().byteLength);
  const panelValues = gramPanels(40).reduce((sum, { rows, columns }) => sum + rows * columns, 0);
  expect(estimate.gramAccumulators['mlp-out']).toBe(8 * panelValues);
  expect(estimate.windowHidden).toBe(engine.embed(new Int32Array(100)).byteLength);
  expect(estimate.head).toBe(source.tensorData.get('model.embed_tokens.weight')!.byteLength);
  await engine.close();
});

test('scratch and window terms grow with the context, weights do not', () => {
  const { architecture } = tinyModel();
  const short = floatMemoryEstimate(architecture, 1024);
  const long = floatMemoryEstimate(architecture, 2048);
  expect(long.blockWeights).toBe(short.blockWeights);
  expect(long.windowState).toBe(2 * short.windowState);
  expect(long.sessionScratch.wholeBlock).toBe(2 * short.sessionScratch.wholeBlock);
  expect(long.sessionScratch.pieces).toBe(2 * short.sessionScratch.pieces);
});
