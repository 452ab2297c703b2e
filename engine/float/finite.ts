import { DBellError } from '../contract/errors.ts';
import { packing } from '../native/packing.ts';

/**
 * Throws DBellError `invalid-model` when an array `[rows, …]` holds NaN or an infinity.
 *
 * @param place block and stage, for the message
 */
export function assertFinite(values: Float32Array, rows: number, place: string): void {
  const index = packing.firstNonFinite(values);
  if (index < 0) return;
  const width = values.length / rows;
  throw new DBellError(
    'invalid-model',
    `${place} is ${values[index]} at row ${Math.floor(index / width)} of ${rows}, column ${index % width}; ` +
      'the activations leave the range of float32 for this text, so these weights cannot be used',
  );
}
