import type { ActivationBits, ActivationScales } from '../contract/common.ts';

/**
 * A measurement of a package with what shared a step of its activations: a package rounds in one way only, so that those from before it was recorded had the package's
 * own. Nothing is added at 16 bits.
 */
export function withScales<E extends { activationBits: ActivationBits; activationScales?: ActivationScales }>(
  entry: E,
  { activationScales }: { activationScales: ActivationScales },
): E {
  return entry.activationBits === 16 ? entry : { activationScales, ...entry };
}
