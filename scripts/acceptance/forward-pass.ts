/**
 * Times plain full-precision forward passes over calibration windows, head not included, in a process of its own:
 *   node forward-pass.ts MODEL TEXT WINDOWS CONTEXT PASSES      prints {"seconds": […], "tokens": n, "peakRssBytes": n}
 */
import os from 'node:os';
import { readTokenWindows } from '../../engine/calibration/read-windows.ts';
import { createFloatEngine } from '../../engine/float/engine.ts';
import { openModel } from '../../engine/model/open.ts';
import { createTokenizer } from '../../engine/model/tokenizer-huggingface.ts';

const [model, text, windowCount, context, passes] = process.argv.slice(2);
const source = await openModel(model!);
const windows = await readTokenWindows(text!, createTokenizer(source.tokenizer), {
  context: Number(context),
  choice: { kind: 'first', count: Number(windowCount) },
  beginOfTextId: source.architecture.beginOfTextId,
});
const engine = await createFloatEngine(source, { threads: os.availableParallelism() });
const runner = await engine.blockRunner(windows.context);
const seconds: number[] = [];
for (let pass = 0; pass < Number(passes); pass++) {
  const started = performance.now();
  const hidden: Float32Array[] = [];
  for (let w = 0; w < windows.windowCount; w++) {
    hidden.push(engine.embed(windows.ids.subarray(w * windows.context, (w + 1) * windows.context)));
  }
  for (const block of source.architecture.blocks) {
    const weights = engine.loadBlock(block.index);
    for (let w = 0; w < hidden.length; w++) {
      hidden[w] = await runner.forward(block.index, weights, hidden[w]!, { activationBits: 16 });
    }
  }
  seconds.push((performance.now() - started) / 1000);
}
console.log(
  JSON.stringify({
    seconds,
    tokens: windows.ids.length,
    peakRssBytes: process.resourceUsage().maxRSS * 1024,
  }),
);
await runner.close();
await engine.close();
