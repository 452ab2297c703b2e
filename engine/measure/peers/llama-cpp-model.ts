import { statSync } from 'node:fs';
import type { ModelShape } from '../../model/model-shapes.ts';
import type { MeasuredModel, MeasuredSession } from '../measured-model.ts';
import {
  type LlamaContext,
  type LlamaModel,
  type LlamaSequence,
  loadedCpuLibrary,
  loadLlamaCpp,
} from './llama-cpp-library.ts';
import { keyValueBytes, type PeerFacts } from './peer.ts';

/** llama.cpp's cache holds float16. */
const cacheElementBytes = 2;

/**
 * A GGUF file in llama.cpp, by node-llama-cpp's own calls: `evaluate` with the most probable token. Whatever is no option here is as node-llama-cpp chooses it. Throws what
 * node-llama-cpp says.
 *
 * @param embeddingBytes of the file, that decoding does not read: the embedding where the head is another table
 */
export async function openLlamaCpp(
  gguf: string,
  shape: ModelShape,
  type: string,
  threads: number,
  embeddingBytes: number,
): Promise<{ model: MeasuredModel; facts: PeerFacts }> {
  const { llama, version } = await loadLlamaCpp(threads);
  const loaded = await llama.loadModel({ modelPath: gguf });
  const fileBytes = statSync(gguf).size;
  const facts: PeerFacts = {
    version: `node-llama-cpp ${version}, llama.cpp ${llama.llamaCppRelease.release}`,
    settings: { systemInfo: llama.systemInfo.trim(), cpuLibrary: loadedCpuLibrary(), fileBytes },
  };
  const model: MeasuredModel = {
    vocabularySize: shape.vocabularySize,
    contextLength: shape.contextLength,
    // Inputs of quantized matrices are rounded to 8 bits in blocks (ggml's Q8_0 and Q8_K).
    activationBits: 8,
    keyValueCache: 'f16',
    kernelPath: `llama.cpp ${type}`,
    device: 'cpu',
    memoryBytes: { file: fileBytes },
    bytesReadPerToken: (depth) => ({
      linears: fileBytes - embeddingBytes,
      head: 0,
      embedding: 0,
      others: 0,
      kvCache: keyValueBytes(shape, depth + 1, cacheElementBytes),
    }),
    createSession: ({ contextLength }) => createSession(loaded, shape, contextLength, threads, facts),
    async close() {
      await loaded.dispose();
      await llama.dispose();
    },
  };
  return { model, facts };
}

async function createSession(
  loaded: LlamaModel,
  shape: ModelShape,
  contextLength: number,
  threads: number,
  facts: PeerFacts,
): Promise<MeasuredSession> {
  // Room for the token that is chosen last: a full context would be shifted.
  const context = await loaded.createContext({ contextSize: contextLength + 1, threads });
  const { currentThreads, flashAttention, batchSize } = context;
  Object.assign(facts.settings, { threads: currentThreads, flashAttention, batchSize });
  return new LlamaSession(context, keyValueBytes(shape, contextLength, cacheElementBytes));
}

class LlamaSession implements MeasuredSession {
  readonly cacheBytes: number;
  readonly #context: LlamaContext;
  readonly #sequence: LlamaSequence;
  #tokens: AsyncGenerator<number, void> | null = null;
  #last = -1;

  constructor(context: LlamaContext, cacheBytes: number) {
    this.#context = context;
    this.#sequence = context.getSequence();
    this.cacheBytes = cacheBytes;
  }

  async feed(ids: Int32Array): Promise<number> {
    // The token that it chose itself: generation goes on, as it does in a chat.
    if (ids.length !== 1 || ids[0] !== this.#last || this.#tokens === null) {
      await this.#end();
      this.#tokens = this.#sequence.evaluate([...ids], { temperature: 0, yieldEogToken: true });
    }
    const { value } = await this.#tokens.next();
    if (typeof value !== 'number') throw new Error('llama.cpp gave no token');
    this.#last = value;
    return value;
  }

  async reset(): Promise<void> {
    await this.#end();
    await this.#sequence.clearHistory();
  }

  async close(): Promise<void> {
    await this.#end();
    await this.#context.dispose();
  }

  async #end(): Promise<void> {
    await this.#tokens?.return();
    this.#tokens = null;
    this.#last = -1;
  }
}
