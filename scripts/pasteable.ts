import path from 'node:path';
import { quoteForShell } from '../engine/cli/session.ts';

/**
 * `npx dbell …` as it can be pasted into a POSIX shell at `root`: with the folder of the history in front where it is another than that of a person's own commands
 * (`ownHome`, the DBELL_HOME that they have set).
 */
export function pasteableCommand(
  args: readonly string[],
  { root, home, ownHome }: { root: string; home: string; ownHome: string | undefined },
): string {
  const inside = path.relative(root, home);
  const shown = inside.startsWith('..') || path.isAbsolute(inside) ? home : inside;
  const setting = ownHome === home ? '' : `DBELL_HOME=${quoteForShell(shown)} `;
  return `${setting}npx dbell ${args.map(quoteForShell).join(' ')}`;
}
