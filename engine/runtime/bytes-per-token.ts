import type { KeyValueCache } from '../contract/common.ts';
import { keyValueBytesRead } from '../model/key-value-bytes.ts';
import type { BytesReadPerToken } from '../model/text-model.ts';
import type { PackageSource } from '../package/types.ts';

/**
 * What decoding one token reads of a package, by depth. Every quantized linear and the head are read whole, as they are stored, padding included; of the embedding
 * one row, of learned positions one row; norms, biases and projections whole; of the cache what the attention sees. The tensors that are read add up to
 * model.safetensors without its header, where the table is tied and positions are not learned. The result needs the package no more.
 */
export function packedBytesReadPerToken(
  source: PackageSource,
  cache: KeyValueCache = 'f32',
): (depth: number) => BytesReadPerToken {
  const { architecture } = source;
  const { embedding, head } = source;
  const learned = architecture.position.kind === 'learned' ? architecture.position.table : null;
  let linears = 0;
  for (const linear of source.linears.values()) linears += linear.storedBytes;
  let others = 0;
  for (const [name, location] of source.floats)
    others += name === learned ? location.byteLength / (location.shape[0] ?? 1) : location.byteLength;
  const weights = {
    linears,
    head: head.storedBytes,
    embedding: Math.ceil(embedding.storedBytes / embedding.rows),
    others: Math.ceil(others),
  };
  return (depth) => ({ ...weights, kvCache: keyValueBytesRead(architecture, depth, cache) });
}
