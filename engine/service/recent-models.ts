import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { pathSchema, timeSchema } from '../contract/common.ts';
import { type KnownModel, modelFormatSchema } from '../contract/models.ts';
import { writeFileAtomically } from '../files/atomic.ts';
import { makeFolders } from '../files/folders.ts';
import { serviceLimits } from './limits.ts';

const fileSchema = z.object({
  models: z.array(z.object({ path: pathSchema, format: modelFormatSchema, usedAt: timeSchema })),
});
type Remembered = z.infer<typeof fileSchema>['models'];

/** Models that were looked at in the studio, newest first, in DBELL_HOME. Losing the list loses nothing else, so that a damaged one is begun anew. */
export interface RecentModels {
  list(): KnownModel[];
  remember(model: string, format: KnownModel['format']): void;
  forget(model: string): void;
}

export function openRecentModels(
  home: string,
  now: () => string = () => new Date().toISOString(),
): RecentModels {
  const file = path.join(home, 'recent-models.json');
  const read = (): Remembered => {
    try {
      return fileSchema.parse(JSON.parse(readFileSync(file, 'utf8'))).models;
    } catch {
      return [];
    }
  };
  const write = (models: Remembered) => {
    makeFolders(home);
    writeFileAtomically(file, `${JSON.stringify({ models }, null, 2)}\n`);
  };
  return {
    list: () =>
      read().map((model) => ({ ...model, name: path.basename(model.path), exists: existsSync(model.path) })),
    remember(model, format) {
      const others = read().filter((known) => known.path !== model);
      write([{ path: model, format, usedAt: now() }, ...others].slice(0, serviceLimits.recentModels));
    },
    forget(model) {
      write(read().filter((known) => known.path !== model));
    },
  };
}
