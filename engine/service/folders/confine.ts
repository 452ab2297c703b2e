import { realpath } from 'node:fs/promises';
import path from 'node:path';
import { DBellError } from '../../contract/errors.ts';
import { isWithin } from '../../files/folders.ts';

/** The root that holds a path without links; null where none does. */
export function rootOf(realPath: string, roots: readonly string[]): string | null {
  return roots.find((root) => isWithin(realPath, root)) ?? null;
}

/**
 * The path without links, if it lies below a root. Throws `not-found` otherwise, with the same words whether there is nothing, or something outside:
 * so that nothing can be learned of what lies there.
 */
export async function confine(target: string, roots: readonly string[]): Promise<string> {
  if (path.isAbsolute(target)) {
    try {
      const real = await realpath(target);
      if (rootOf(real, roots) !== null) return real;
    } catch {
      // Told below, like everything else that cannot be reached.
    }
  }
  throw new DBellError(
    'not-found',
    `${target} is not there, or not below a folder that you allow; allow further folders in the settings`,
  );
}
