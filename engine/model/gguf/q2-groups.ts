/**
 * Type 42, Q2_0, has two block layouts under one number: ggml's own with 64 weights in 18 bytes, and the one of files made before it was settled with 128
 * weights in 34 bytes. Nothing in the header names the layout. Tensors stand in a file one behind the other, each padded to the alignment, so the offsets
 * say how many bytes each tensor takes, and with that which layout it is.
 */
export const Q2_0_NUMBER = 42;

export type Q2Groups = 'Q2_0' | 'Q2_0_G128';

const layouts: { type: Q2Groups; elements: bigint; bytes: bigint }[] = [
  { type: 'Q2_0', elements: 64n, bytes: 18n },
  { type: 'Q2_0_G128', elements: 128n, bytes: 34n },
];

/** What the header says of a tensor. */
export interface TensorSpan {
  type: number;
  /** Innermost first. */
  dimensions: bigint[];
  offset: bigint;
}

/**
 * The layout of a file's Q2_0 tensors.
 *
 * @param tensors all tensors of the file
 * @param dataBytes bytes of the file behind its header
 * @returns null where the file has no such tensors; `ambiguous` where both layouts fit the offsets, `neither` where none does
 */
export function findQ2Groups(
  tensors: readonly TensorSpan[],
  dataBytes: bigint,
  alignment: bigint,
): Q2Groups | 'ambiguous' | 'neither' | null {
  if (!tensors.some((tensor) => tensor.type === Q2_0_NUMBER)) return null;
  const ordered = [...tensors].sort((a, b) => (a.offset < b.offset ? -1 : a.offset > b.offset ? 1 : 0));
  // Whatever follows the last tensor is no part of it, so its end is asked only where the others leave the question open.
  const fitting = (exactEnd: boolean) =>
    layouts.filter(({ elements, bytes }) =>
      ordered.every((tensor, index) => {
        if (tensor.type !== Q2_0_NUMBER) return true;
        const count = tensor.dimensions.reduce((product, size) => product * size, 1n);
        if (tensor.dimensions[0]! % elements !== 0n) return false;
        const next = ordered[index + 1];
        const left = (next?.offset ?? dataBytes) - tensor.offset - (count / elements) * bytes;
        return left >= 0n && (left < alignment || (next === undefined && !exactEnd));
      }),
    );
  const loose = fitting(false);
  const found = loose.length > 1 ? fitting(true) : loose;
  if (found.length === 1) return found[0]!.type;
  return loose.length === 0 ? 'neither' : 'ambiguous';
}
