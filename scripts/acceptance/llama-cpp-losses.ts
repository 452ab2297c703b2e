/**
 * Runs llama.cpp on a GGUF file and prints what it computes. A process of its own, since the library stays in memory.
 *
 *   node llama-cpp-losses.ts FOLDER REQUEST     FOLDER has node-llama-cpp installed; REQUEST is a JSON file
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

export interface LlamaRequest {
  gguf: string;
  /** Token ids of windows that stand alone, all of one length. */
  windows: number[][];
  /** Text to tokenize. */
  text: string;
}

export interface LlamaAnswer {
  /** −ln p of every token but the first, by window. */
  losses: number[][];
  ids: number[];
  architecture: string;
}

type Token = number;

/** As much of node-llama-cpp as is used here. */
interface LlamaLibrary {
  getLlama(options: object): Promise<{ loadModel(options: object): Promise<LlamaModel> }>;
}
interface LlamaModel {
  tokenize(text: string, specialTokens: boolean): Token[];
  createContext(options: object): Promise<{ getSequence(): LlamaSequence }>;
  fileInfo: { metadata: { general: { architecture: string } } };
}
interface LlamaSequence {
  clearHistory(): Promise<void>;
  controlledEvaluate(
    input: [Token, { generateNext: { probabilities: true } }][],
  ): Promise<{ next: { probabilities?: Map<Token, number> } }[]>;
}

const [folder, requestPath] = process.argv.slice(2);
if (folder === undefined || requestPath === undefined) throw new Error('usage: FOLDER REQUEST');
const request = JSON.parse(readFileSync(requestPath, 'utf8')) as LlamaRequest;
const entry = path.join(folder, 'node_modules', 'node-llama-cpp', 'dist', 'index.js');
const library = (await import(pathToFileURL(entry).href)) as LlamaLibrary;
// Only the prebuilt library is used: nothing is compiled or fetched.
const llama = await library.getLlama({ gpu: false, build: 'never', skipDownload: true, logLevel: 'warn' });
const model = await llama.loadModel({ modelPath: request.gguf, checkTensors: true });
const contextSize = Math.max(...request.windows.map((ids) => ids.length));
const context = await model.createContext({ contextSize, batchSize: contextSize, flashAttention: false });
const sequence = context.getSequence();
const losses: number[][] = [];
for (const ids of request.windows) {
  await sequence.clearHistory();
  const steps = await sequence.controlledEvaluate(
    ids.slice(0, -1).map((id) => [id, { generateNext: { probabilities: true } }]),
  );
  losses.push(
    steps.map((step, index) => -Math.log(step.next.probabilities?.get(ids[index + 1] ?? -1) ?? Number.NaN)),
  );
}
const answer: LlamaAnswer = {
  losses,
  ids: [...model.tokenize(request.text, false)],
  architecture: model.fileInfo.metadata.general.architecture,
};
process.stdout.write(`${JSON.stringify(answer)}\n`, () => process.exit(0));
