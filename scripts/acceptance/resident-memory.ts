/**
 * What a package takes beside its tokenizer, in a process of its own:
 *   node resident-memory.ts PACKAGE PROMPT_TOKENS GENERATED_TOKENS      prints resident bytes before and after, the highest, weights and cache
 */
import { processMemory } from '../../engine/measure/memory.ts';
import { createTokenizer } from '../../engine/model/tokenizer-huggingface.ts';
import { openPackage } from '../../engine/package/open.ts';
import { createPackedTextModel } from '../../engine/runtime/packed-text-model.ts';

const [folder, promptTokens, generatedTokens] = process.argv.slice(2);
const source = await openPackage(folder!);
const tokenizer = createTokenizer(source.tokenizer);
const prompt = Int32Array.from({ length: Number(promptTokens) }, (_, index) => 5 + (index % 1000));
tokenizer.decode([...prompt]);
const idle = processMemory();
const model = await createPackedTextModel(source, { threads: 0 });
const session = await model.createSession({ contextLength: Number(promptTokens) + Number(generatedTokens) });
let logits = await session.feed(prompt);
for (let token = 0; token < Number(generatedTokens); token++)
  logits = await session.feed(Int32Array.of(logits.indexOf(Math.max(...logits.subarray(0, 1000)))));
const { peakRssBytes } = processMemory();
console.log(
  JSON.stringify({
    idleRssBytes: idle.rssBytes,
    idlePeakRssBytes: idle.peakRssBytes,
    peakRssBytes,
    ...model.memoryBytes,
  }),
);
