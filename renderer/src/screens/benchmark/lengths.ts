import { limits } from '../../../../engine/contract/limits.ts';

/** `128, 512` as numbers; null where it is no list of whole numbers from `minimum`. */
export function parseLengths(text: string, minimum: number): number[] | null {
  const parts = text.split(/[\s,;]+/).filter((part) => part !== '');
  if (parts.length === 0 || parts.length > limits.lengthListEntries) return null;
  const numbers = parts.map(Number);
  const areValid = numbers.every(
    (number) => Number.isInteger(number) && number >= minimum && number <= limits.contextTokens,
  );
  return areValid ? [...new Set(numbers)] : null;
}
