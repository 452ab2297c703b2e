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
  /** The LM head is the embedding table. */
  tiedHead: boolean;
}

/** Shapes by the names of their models; speed does not depend on what the weights are. */
export const modelShapes = {
  'tinyllama-1.1b': {
    name: 'TinyLlama-1.1B shape',
    ...{ hiddenSize: 2048, intermediateSize: 5632, blockCount: 22, headCount: 32, keyValueHeadCount: 4 },
    ...{ vocabularySize: 32_000, contextLength: 2048, tiedHead: false },
  },
  'smollm2-135m': {
    name: 'SmolLM2-135M shape',
    ...{ hiddenSize: 576, intermediateSize: 1536, blockCount: 30, headCount: 9, keyValueHeadCount: 3 },
    ...{ vocabularySize: 49_152, contextLength: 2048, tiedHead: true },
  },
  tiny: {
    name: 'tiny shape',
    ...{ hiddenSize: 256, intermediateSize: 768, blockCount: 2, headCount: 4, keyValueHeadCount: 2 },
    ...{ vocabularySize: 1024, contextLength: 1024, tiedHead: false },
  },
} as const satisfies Record<string, ModelShape>;
export type ModelShapeName = keyof typeof modelShapes;
