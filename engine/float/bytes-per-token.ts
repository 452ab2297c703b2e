import type { Architecture } from '../model/architecture.ts';
import { keyValueBytesRead } from '../model/key-value-bytes.ts';
import type { BytesReadPerToken } from '../model/text-model.ts';
import { blockParameters } from './graphs/parameters.ts';
import { floatMemoryEstimate } from './memory-estimate.ts';

const floatBytes = 4;

/**
 * What decoding one token reads of a model in full precision: every weight once, as the float32 that onnxruntime holds, one row of the embedding, and what the
 * attention sees of the cache. Norms and biases of the blocks count as `others`. Weights streamed from the file are the same number of values.
 */
export function floatBytesReadPerToken(architecture: Architecture): (depth: number) => BytesReadPerToken {
  let linears = 0;
  let others = 0;
  for (const block of architecture.blocks) {
    for (const { shape } of blockParameters(architecture, block)) {
      const bytes = floatBytes * shape.reduce((product, extent) => product * extent, 1);
      if (shape.length === 2) linears += bytes;
      else others += bytes;
    }
  }
  const { hiddenSize, embedding, finalNorm } = architecture;
  if (finalNorm !== null) others += floatBytes * hiddenSize;
  const weights = {
    linears,
    // The context only sizes what this does not use.
    head: floatMemoryEstimate(architecture, 1).head,
    embedding: floatBytes * embedding.embeddingSize,
    others,
  };
  return (depth) => ({ ...weights, kvCache: keyValueBytesRead(architecture, depth) });
}
