/**
 * What a package takes beside its tokenizer, in a process of its own:
 *   node --expose-gc resident-memory.ts PACKAGE PROMPT_TOKENS GENERATED_TOKENS      prints resident bytes before, the most afterwards, weights and cache
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
// What building the tokenizer left behind must not hide what the model takes.
const { gc } = globalThis as { gc?: () => void };
if (!gc) throw new Error('start it with --expose-gc');
// Pages go back to the system some time after they were collected.
for (let round = 0; round < 10; round++) {
  gc();
  await new Promise((resolve) => setTimeout(resolve, 100));
}
const { rssBytes: idleRssBytes } = processMemory();
const model = await createPackedTextModel(source, { threads: 0 });
const session = await model.createSession({ contextLength: Number(promptTokens) + Number(generatedTokens) });
let highestRssBytes = 0;
const feed = async (ids: Int32Array): Promise<Float32Array> => {
  const logits = await session.feed(ids);
  highestRssBytes = Math.max(highestRssBytes, processMemory().rssBytes);
  return logits;
};
let logits = await feed(prompt);
for (let token = 0; token < Number(generatedTokens); token++)
  logits = await feed(Int32Array.of(logits.indexOf(Math.max(...logits.subarray(0, 1000)))));
console.log(JSON.stringify({ idleRssBytes, highestRssBytes, ...model.memoryBytes }));
