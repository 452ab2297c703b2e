import { DBellError } from '../contract/errors.ts';

/**
 * Index of the first NaN or infinity, or −1. The sum of x · 0 is 0 as long as everything is finite, which needs no branch for each value.
 */
export function firstNonFinite(values: Float32Array): number {
  let zero = 0;
  for (let index = 0; index < values.length; index++) zero += values[index]! * 0;
  if (zero === 0) return -1;
  return values.findIndex((value) => !Number.isFinite(value));
}

/**
 * Throws DBellError `invalid-model` when an array `[rows, …]` holds NaN or an infinity.
 *
 * @param place block and stage, for the message
 */
export function assertFinite(values: Float32Array, rows: number, place: string): void {
  const index = firstNonFinite(values);
  if (index < 0) return;
  const width = values.length / rows;
  throw new DBellError(
    'invalid-model',
    `${place} is ${values[index]} at token ${Math.floor(index / width)} of ${rows}, column ${index % width}; ` +
      'the activations leave the range of float32 for this text, so these weights cannot be used',
  );
}
