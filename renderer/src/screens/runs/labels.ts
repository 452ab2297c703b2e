import type { RunDetail } from '../../../../engine/contract/history.ts';
import { strings } from '../../strings/index.ts';

/** A run in a chart or a heading: its recipe, or what it did. */
export function shortLabel(run: RunDetail): string {
  return `${run.recipe?.split(' ')[0] ?? strings.runKinds[run.kind]}${run.activationBits ? ` A${run.activationBits}` : ''}`;
}
