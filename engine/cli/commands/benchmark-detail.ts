import path from 'node:path';
import { z } from 'zod';
import type { JsonObject } from '../../contract/common.ts';

/** What `history show` says of a benchmark's reliability. Read leniently: other versions recorded other things. */

const subjectSchema = z.object({
  model: z.string().optional().catch(undefined),
  stable: z.boolean(),
  stabilityNotes: z.array(z.string()).catch([]),
  conditions: z
    .object({
      othersBusyShareBefore: z.number().nullish().catch(null),
      stolenShare: z.number().nullish().catch(null),
    })
    .catch({}),
});
const benchmarkSchema = subjectSchema.extend({ baseline: subjectSchema.nullish().catch(null) });

/** Whether its speeds can be relied on, and why not; of which model each reason is, where there are two. Null for what is no benchmark. */
export function stabilityOf(benchmark: JsonObject[string] | undefined): string | null {
  const found = benchmarkSchema.safeParse(benchmark).data;
  if (!found) return null;
  const subjects = [found, ...(found.baseline ? [found.baseline] : [])];
  if (subjects.every(({ stable }) => stable)) return 'stable';
  const notes = subjects.flatMap(({ model, stable, stabilityNotes }, index) => {
    if (subjects.length === 1) return stabilityNotes;
    const name = model === undefined ? (index === 0 ? 'model' : 'baseline') : path.basename(model);
    if (stable) return [`${name}: stable`];
    return (stabilityNotes.length > 0 ? stabilityNotes : ['unstable']).map((note) => `${name}: ${note}`);
  });
  return ['unstable', ...notes].join('\n');
}

/** What others took of the processors before it and during it; empty where that is not known. */
export function conditionsOf(benchmark: JsonObject[string] | undefined): JsonObject {
  const found = benchmarkSchema.safeParse(benchmark).data;
  if (!found) return {};
  const shares = ({ othersBusyShareBefore = null, stolenShare = null }: typeof found.conditions) => ({
    othersBusyShareBefore,
    stolenShare,
  });
  return {
    ...shares(found.conditions),
    ...(found.baseline ? { baseline: shares(found.baseline.conditions) } : {}),
  };
}
