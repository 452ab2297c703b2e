import type { ByteSource } from './byte-source.ts';
import type { StoredType } from './source.ts';

/** One tensor of a model by its Hugging Face name, wherever it lies. */
export interface WeightLocation {
  source: ByteSource;
  storedType: StoredType;
  /** Row-major, outermost first. */
  shape: number[];
  position: number;
  bytes: number;
  /**
   * Set where rows are stored in another order: heads whose two halves of rotary pairs are interleaved (GGUF of the LLaMA family). A vector counts
   * as one element a row.
   */
  interleavedHeads?: number;
  /** Packed ternary codes of a BitNet folder; value = scale · (code − 1). */
  ternary?: { scale: number };
  /** Factor of every stored value. */
  multiplier?: number;
  /** Float weights of which BitNet computes with sign and mean magnitude only. */
  isOnline?: boolean;
}

/**
 * Row of the file, within its head, that holds a row of the Hugging Face order. Within a head of d rows, Hugging Face keeps the first elements of all
 * rotary pairs in rows 0 … d/2 − 1 and the second ones in d/2 … d − 1; ggml's LLaMA keeps pairs side by side in rows 2j and 2j + 1.
 */
export function deinterleave(headRows: number): (row: number) => number {
  const half = headRows / 2;
  return (row) => (row < half ? 2 * row : 2 * (row - half) + 1);
}
