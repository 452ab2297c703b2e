import type { JsonObject } from '../../contract/common.ts';
import type { ModelShape } from '../../model/model-shapes.ts';

/** What a peer really ran. */
export interface PeerFacts {
  version: string;
  settings: JsonObject;
}

/** Bytes of the keys and values of `positions` positions. */
export function keyValueBytes(shape: ModelShape, positions: number, elementBytes: number): number {
  const { hiddenSize, headCount, keyValueHeadCount, blockCount } = shape;
  return 2 * blockCount * keyValueHeadCount * (hiddenSize / headCount) * positions * elementBytes;
}
