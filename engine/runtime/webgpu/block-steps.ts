import type { KeyValueCache } from '../../contract/common.ts';
import { attentionKernel, rotateKernel, storeKernel } from './kernels/attention.ts';
import { cacheWidth, cacheWords } from './kernels/cache.ts';
import { activationKernel, addKernel, copyRowsKernel, lossKernel } from './kernels/elementwise.ts';
import { isFloatTable } from './kernels/table.ts';
import type { StepDescription } from './program.ts';
import type { Scratch } from './scratch.ts';
import {
  byValue,
  inputSteps,
  linearSteps,
  lookupSteps,
  normStep,
  quantizeForTable,
  type RowBuffer,
  type StageOptions,
  tableSteps,
} from './steps.ts';
import type { GpuBlock, GpuLinear, GpuNorm, GpuWeights } from './weights.ts';

/** Keys and values of a block, `[positions, words]` each (kernels/cache.ts). */
export interface BlockCache {
  keys: GPUBuffer;
  values: GPUBuffer;
}

/** Embeddings of the chunk's tokens to the hidden state. */
export function embeddingSteps(weights: GpuWeights, scratch: Scratch, packedDot: boolean): StepDescription[] {
  const { embedding, projectIn, positions, description } = weights;
  const { hidden, embedded, ids } = scratch;
  const steps = projectIn
    ? [
        ...lookupSteps(embedding, ids, 0, embedded),
        ...tableSteps(projectIn, [embedded.buffer], embedded.stride, hidden, {
          rows: 'tokens',
          packedDot,
          bias: null,
        }),
      ]
    : lookupSteps(embedding, ids, 0, hidden);
  if (positions) steps.push(...lookupSteps(positions, null, description.positionOffset, hidden));
  return steps;
}

/** One block over the hidden state at the chunk's position; its keys and values go to the cache. */
export function blockSteps(
  weights: GpuWeights,
  block: GpuBlock,
  scratch: Scratch,
  cache: BlockCache,
  options: StageOptions & { keyValueCache: KeyValueCache },
): StepDescription[] {
  const { keyValueCache } = options;
  const { description, activation } = weights;
  const { hiddenSize, headCount, keyValueHeadCount, headDimension, intermediateSize } = description;
  const { hidden, normed, query, key, value, attention, projected, gate, up, inputs, angles } = scratch;
  const hasPostNorms = description.normPlacement === 'post';
  const half = description.inverseFrequencies?.length ?? 0;
  const keySize = keyValueHeadCount * headDimension;
  const keyWords = cacheWords(keyValueCache, keySize);

  const stage = (x: RowBuffer, ...outputs: [GpuLinear, RowBuffer][]): StepDescription[] => [
    ...inputSteps(outputs[0]![0], x, inputs, options),
    ...outputs.flatMap(([linear, y]) => linearSteps(linear, inputs, y, options)),
  ];
  const normBefore = (norm: GpuNorm) => (hasPostNorms ? [] : [normStep(norm, hidden, normed)]);
  const stageInput = hasPostNorms ? hidden : normed;
  const addToHidden = (norm: GpuNorm): StepDescription[] => [
    {
      one: addKernel(),
      parameters: { width: hiddenSize, stride: hidden.stride },
      buffers: [projected.buffer, hidden.buffer],
      extent: byValue(hiddenSize),
    },
    ...(hasPostNorms ? [normStep(norm, hidden, null)] : []),
  ];

  return [
    ...normBefore(block.attentionNorm),
    ...stage(stageInput, [block.q, query], [block.k, key], [block.v, value]),
    ...(block.queryNorm ? [normStep(block.queryNorm, query, null, 'tokens', headCount)] : []),
    ...(block.keyNorm ? [normStep(block.keyNorm, key, null, 'tokens', keyValueHeadCount)] : []),
    ...(half > 0
      ? [
          {
            one: rotateKernel(),
            parameters: { heads: headCount, head_size: headDimension, half, stride: query.stride },
            buffers: [angles, query.buffer],
            extent: byValue(headCount * half),
          },
        ]
      : []),
    {
      one: storeKernel(keyValueCache),
      parameters: { width: keySize, words: keyWords, head_size: headDimension, half, stride: key.stride },
      buffers: [
        ...[angles, key.buffer, value.buffer, cache.keys, cache.values],
        ...(keyValueCache === 'f16' ? [inputs.status] : []),
      ],
      extent: byValue(keyWords),
    },
    {
      one: attentionKernel(headDimension, options.fusedMultiply, keyValueCache),
      parameters: {
        heads_per_key: headCount / keyValueHeadCount,
        window: description.slidingWindow,
        stride: query.stride,
        width: cacheWidth(keyValueCache, keySize),
        scale: 1 / Math.sqrt(headDimension),
      },
      buffers: [query.buffer, cache.keys, cache.values, attention.buffer],
      extent: (tokens) => [headCount, tokens, 1],
    },
    ...(block.attentionSubNorm ? [normStep(block.attentionSubNorm, attention, null)] : []),
    ...stage(attention, [block.o, projected]),
    ...addToHidden(block.attentionNorm),
    ...normBefore(block.mlpNorm),
    ...(block.gate
      ? stage(stageInput, [block.gate, gate], [block.up, up])
      : stage(stageInput, [block.up, up])),
    {
      one: activationKernel(activation, block.gate !== null),
      parameters: { width: intermediateSize, stride: up.stride },
      buffers: [...(block.gate ? [gate.buffer] : []), up.buffer],
      extent: byValue(intermediateSize),
    },
    ...(block.mlpSubNorm ? [normStep(block.mlpSubNorm, up, null)] : []),
    ...stage(up, [block.down, projected]),
    ...addToHidden(block.mlpNorm),
  ];
}

/** Logits of `head_rows` rows of the hidden state from `head_first` on. */
export function headSteps(weights: GpuWeights, scratch: Scratch, packedDot: boolean): StepDescription[] {
  const { finalNorm, projectOut, head, headBias, description } = weights;
  const { hidden, normed, headRows, logits, inputs } = scratch;
  const steps: StepDescription[] = [
    finalNorm
      ? normStep(finalNorm, hidden, normed, 'head_rows')
      : {
          one: copyRowsKernel(),
          parameters: { width: description.hiddenSize, stride: hidden.stride },
          buffers: [hidden.buffer, normed.buffer],
          extent: byValue(description.hiddenSize),
        },
  ];
  let rows = normed;
  if (projectOut) {
    const options = { rows: 'head_rows', packedDot, bias: null } as const;
    steps.push(...tableSteps(projectOut, [normed.buffer], normed.stride, headRows, options));
    rows = headRows;
  }
  const isFloat = isFloatTable(head.type);
  if (!isFloat) steps.push(quantizeForTable(head, rows, inputs, packedDot));
  const x = isFloat ? [rows.buffer] : [inputs.quantized, inputs.side];
  steps.push(...tableSteps(head, x, rows.stride, logits, { rows: 'head_rows', packedDot, bias: headBias }));
  return steps;
}

/** Losses of the chunk's targets from the logits. */
export function lossSteps({ logits, targets, losses }: Scratch, vocabulary: number): StepDescription[] {
  return [
    {
      one: lossKernel(),
      parameters: { vocabulary, stride: logits.stride },
      buffers: [logits.buffer, targets, losses],
      extent: (rows) => [rows, 1, 1],
    },
  ];
}
