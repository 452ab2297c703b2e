import type { Activation, Architecture, Block, Linear, Norm } from '../../engine/model/architecture.ts';
import type { ModelSource } from '../../engine/model/source.ts';

/** Deterministic uniform numbers in [−1, 1) (a linear congruential generator of 32 bits). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}

export interface TinyModelOptions {
  family?: Architecture['family'];
  hiddenSize?: number;
  intermediateSize?: number;
  headCount?: number;
  keyValueHeadCount?: number;
  headDimension?: number;
  vocabularySize?: number;
  contextLength?: number;
  blockCount?: number;
  activation?: Activation;
  mlp?: Architecture['mlp'];
  normKind?: Norm['kind'];
  normAffine?: boolean;
  normPlacement?: Architecture['normPlacement'];
  biases?: boolean;
  headNorms?: boolean;
  subNorms?: boolean;
  position?: Architecture['position'];
  embeddingSize?: number;
  finalNorm?: boolean;
  tied?: boolean;
  slidingWindow?: number | null;
  seed?: number;
}

/** A model of random weights in memory, with the options of every family; what a real reader would give for such a checkpoint. */
export function tinyModel(
  options: TinyModelOptions = {},
): ModelSource & { tensorData: Map<string, Float32Array> } {
  const {
    family = 'llama',
    hiddenSize = 24,
    intermediateSize = 40,
    headCount = 4,
    keyValueHeadCount = 2,
    headDimension = 8,
    vocabularySize = 50,
    contextLength = 512,
    blockCount = 2,
    activation = 'silu',
    mlp = 'gated',
    normKind = 'rms',
    normAffine = true,
    normPlacement = 'pre',
    biases = false,
    headNorms = false,
    subNorms = false,
    position = { kind: 'rope', theta: 10000, scaling: { kind: 'none' }, rotaryDimensions: headDimension },
    embeddingSize = hiddenSize,
    finalNorm = true,
    tied = true,
    slidingWindow = null,
    seed = 1,
  } = options;
  const random = randomNumbers(seed);
  const tensorData = new Map<string, Float32Array>();
  const shapes = new Map<string, number[]>();
  const add = (name: string, shape: number[], scale: number, center = 0): string => {
    const data = new Float32Array(shape.reduce((product, extent) => product * extent, 1));
    for (let index = 0; index < data.length; index++) data[index] = center + scale * random();
    tensorData.set(name, data);
    shapes.set(name, shape);
    return name;
  };
  const norm = (name: string, size: number): Norm => ({
    kind: normKind,
    epsilon: 1e-5,
    weight: normAffine ? add(`${name}.weight`, [size], 0.5, 1) : null,
    bias: normAffine && normKind === 'layer' ? add(`${name}.bias`, [size], 0.3) : null,
  });
  const block = (index: number): Block => {
    const prefix = `model.layers.${index}`;
    const linear = (role: Linear['role'], part: string, inFeatures: number, outFeatures: number): Linear => {
      const name = `${prefix}.${part}.${role}_proj`;
      add(`${name}.weight`, [outFeatures, inFeatures], 2 / Math.sqrt(inFeatures));
      const bias = biases ? add(`${name}.bias`, [outFeatures], 0.3) : null;
      return { role, name, inFeatures, outFeatures, bias };
    };
    const attentionNorm = norm(`${prefix}.input_layernorm`, hiddenSize);
    const mlpNorm = norm(`${prefix}.post_attention_layernorm`, hiddenSize);
    const queryWidth = headCount * headDimension;
    const keyWidth = keyValueHeadCount * headDimension;
    const attentionSubNorm = subNorms ? norm(`${prefix}.self_attn.attn_sub_norm`, queryWidth) : null;
    const mlpSubNorm = subNorms ? norm(`${prefix}.mlp.ffn_sub_norm`, intermediateSize) : null;
    const foldable = normPlacement === 'pre' && normAffine;
    return {
      index,
      attentionNorm,
      mlpNorm,
      attentionSubNorm,
      mlpSubNorm,
      queryNorm: headNorms ? norm(`${prefix}.self_attn.q_norm`, headDimension) : null,
      keyNorm: headNorms ? norm(`${prefix}.self_attn.k_norm`, headDimension) : null,
      stages: [
        {
          name: 'attention-in',
          linears: [
            linear('q', 'self_attn', hiddenSize, queryWidth),
            linear('k', 'self_attn', hiddenSize, keyWidth),
            linear('v', 'self_attn', hiddenSize, keyWidth),
          ],
          foldableNorm: foldable ? attentionNorm : null,
        },
        {
          name: 'attention-out',
          linears: [linear('o', 'self_attn', queryWidth, hiddenSize)],
          foldableNorm: attentionSubNorm,
        },
        {
          name: 'mlp-in',
          linears: [
            ...(mlp === 'gated' ? [linear('gate', 'mlp', hiddenSize, intermediateSize)] : []),
            linear('up', 'mlp', hiddenSize, intermediateSize),
          ],
          foldableNorm: foldable ? mlpNorm : null,
        },
        {
          name: 'mlp-out',
          linears: [linear('down', 'mlp', intermediateSize, hiddenSize)],
          foldableNorm: mlpSubNorm,
        },
      ],
    };
  };
  const table = add('model.embed_tokens.weight', [vocabularySize, embeddingSize], 1);
  if (position.kind === 'learned') add(position.table, [contextLength + position.offset, hiddenSize], 0.5);
  const projected = embeddingSize !== hiddenSize;
  const architecture: Architecture = {
    family,
    modelType: family,
    hiddenSize,
    intermediateSize,
    headCount,
    keyValueHeadCount,
    headDimension,
    vocabularySize,
    contextLength,
    normPlacement,
    position,
    activation,
    mlp,
    embedding: {
      table,
      embeddingSize,
      projectIn: projected ? add('model.project_in.weight', [hiddenSize, embeddingSize], 0.3) : null,
      projectOut: projected ? add('model.project_out.weight', [embeddingSize, hiddenSize], 0.3) : null,
    },
    finalNorm: finalNorm ? norm('model.norm', hiddenSize) : null,
    head: {
      weight: tied ? table : add('lm_head.weight', [vocabularySize, embeddingSize], 0.5),
      tied,
      bias: null,
    },
    slidingWindow,
    blocks: Array.from({ length: blockCount }, (_, index) => block(index)),
    endOfTextIds: [],
    beginOfTextId: null,
  };
  return {
    tensorData,
    path: '/tiny',
    format: 'huggingface',
    architecture,
    config: {},
    generationConfig: null,
    tensors: new Map(
      [...shapes].map(([name, shape]) => [
        name,
        { name, shape, storedType: 'F32' as const, storedBytes: tensorData.get(name)!.byteLength },
      ]),
    ),
    tokenizer: { tokenizer: {}, config: {} },
    tokenizerFiles: new Map(),
    chatTemplate: null,
    license: null,
    parameterCount: [...tensorData.values()].reduce((sum, data) => sum + data.length, 0),
    fileBytes: 0,
    warnings: [],
    fingerprint: async () => 'tiny',
    readFloat32: (name) => tensorData.get(name)!.slice(),
    readRowsFloat32: (name, begin, count, into) => {
      const width = shapes.get(name)![1]!;
      const rows = tensorData.get(name)!.slice(begin * width, (begin + count) * width);
      into?.set(rows);
      return into ?? rows;
    },
    close: () => {},
  };
}

export function randomIds(count: number, vocabularySize: number, seed: number): Int32Array {
  const random = randomNumbers(seed);
  return Int32Array.from({ length: count }, () => Math.floor(((random() + 1) / 2) * vocabularySize));
}

/** Largest difference over the reference's largest magnitude. */
export function relativeMaximumError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let difference = 0;
  let magnitude = 0;
  for (let index = 0; index < expected.length; index++) {
    const gap = Math.abs(actual[index]! - expected[index]!);
    if (!(gap <= difference)) difference = gap;
    magnitude = Math.max(magnitude, Math.abs(expected[index]!));
  }
  return actual.length === expected.length ? difference / magnitude : Number.NaN;
}
