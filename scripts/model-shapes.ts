/** Geometry of a model in the LLaMA family. */
export interface ModelShape {
  name: string;
  hiddenSize: number;
  intermediateSize: number;
  blockCount: number;
  headCount: number;
  keyValueHeadCount: number;
  vocabularySize: number;
  contextLength: number;
}

/** Shapes by the names of their models; speed does not depend on what the weights are. */
export const modelShapes: Readonly<Record<'tinyllama' | 'smollm2' | 'tiny', ModelShape>> = {
  tinyllama: {
    name: 'TinyLlama-1.1B shape',
    ...{ hiddenSize: 2048, intermediateSize: 5632, blockCount: 22, headCount: 32, keyValueHeadCount: 4 },
    ...{ vocabularySize: 32_000, contextLength: 2048 },
  },
  smollm2: {
    name: 'SmolLM2-135M shape',
    ...{ hiddenSize: 576, intermediateSize: 1536, blockCount: 30, headCount: 9, keyValueHeadCount: 3 },
    ...{ vocabularySize: 49_152, contextLength: 2048 },
  },
  tiny: {
    name: 'tiny shape',
    ...{ hiddenSize: 256, intermediateSize: 704, blockCount: 2, headCount: 4, keyValueHeadCount: 2 },
    ...{ vocabularySize: 1024, contextLength: 1024 },
  },
};
