import type { ErrorCode } from '../contract/errors.ts';

/** What the command says to the shell. */
export const exitCodes = { success: 0, failure: 1, wrongUsage: 2, interrupted: 130 } as const;

/** An argument out of range is wrong usage, wherever it was noticed. */
export function exitCodeOf(code: ErrorCode): number {
  if (code === 'invalid-input') return exitCodes.wrongUsage;
  if (code === 'stopped') return exitCodes.interrupted;
  return exitCodes.failure;
}
