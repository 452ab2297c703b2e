import type { TextModel, TextSession } from '../../engine/model/text-model.ts';

/**
 * A model whose next token is known: after n tokens fed since the prompt it prefers the n-th id of a script. For what must be tested with ids that no
 * real model would choose; everything else is tested with real models.
 */
export class ScriptedTextModel implements TextModel {
  readonly kind = 'float';
  readonly vocabularySize: number;
  readonly contextLength: number;
  readonly activationBits = 16;
  readonly kernelPath = 'scripted';
  readonly device = 'cpu';
  readonly memoryBytes = {};
  readonly bytesReadPerToken = (depth: number) => ({
    ...{ linears: 1000, head: 100, embedding: 10, others: 1 },
    kvCache: 8 * (depth + 1),
  });
  readonly fed: number[] = [];
  isSessionOpen = false;
  readonly #script: readonly number[];

  constructor(script: readonly number[], vocabularySize: number, contextLength = 1024) {
    this.#script = script;
    this.vocabularySize = vocabularySize;
    this.contextLength = contextLength;
  }

  async createSession(options: { contextLength?: number } = {}): Promise<TextSession> {
    this.isSessionOpen = true;
    let position = 0;
    let step = 0;
    const { vocabularySize } = this;
    const contextLength = options.contextLength ?? this.contextLength;
    return {
      get position() {
        return position;
      },
      contextLength,
      cacheBytes: 0,
      feed: async (ids) => {
        if (position + ids.length > contextLength) throw new Error('fed beyond the context');
        position += ids.length;
        this.fed.push(...ids);
        const logits = new Float32Array(this.vocabularySize);
        logits[this.#script[step++ % this.#script.length] as number] = 1;
        return logits;
      },
      tokenLosses: async (ids) => new Float32Array(ids.length - 1),
      windowLogits: async function* (ids, rowsPerPiece) {
        for (let begin = 0; begin < ids.length; begin += rowsPerPiece)
          yield new Float32Array(Math.min(rowsPerPiece, ids.length - begin) * vocabularySize);
      },
      reset: () => {
        position = 0;
      },
      close: () => {
        this.isSessionOpen = false;
      },
    };
  }

  async close(): Promise<void> {}
}
