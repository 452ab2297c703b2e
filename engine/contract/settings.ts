import { z } from 'zod';
import { pathSchema, threadsSchema } from './common.ts';
import { endpointSchema } from './endpoint.ts';
import { limits } from './limits.ts';

export const themeSchema = z.enum(['system', 'light', 'dark']);
export type Theme = z.infer<typeof themeSchema>;

const diskFloorSchema = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

/** What a person has set once for all runs; kept in DBELL_HOME. */
export const settingsSchema = z.strictObject({
  theme: themeSchema.default('system'),
  /** For new runs; 0 = all cores. */
  threads: threadsSchema.default(0),
  /** A run that is expected to need more is warned of; null: what the machine has free. */
  memoryBudgetBytes: z.number().int().min(1).max(Number.MAX_SAFE_INTEGER).nullable().default(null),
  /** A job that writes pauses while less than this is free where it writes, and goes on by itself; 0: never. */
  diskFloorBytes: diskFloorSchema.default(limits.diskFloorBytes),
  /** Off: nothing leaves this machine. */
  network: z.boolean().default(false),
  /** Server that models come from; null: the Hugging Face Hub. */
  hubEndpoint: endpointSchema.nullable().default(null),
  /** Where downloaded models are put; null: below DBELL_HOME. */
  modelsFolder: pathSchema.nullable().default(null),
  /** Where packages are made; null: below DBELL_HOME. */
  packagesFolder: pathSchema.nullable().default(null),
  /** Folders, besides the home folder and the like, in which the page may look for models and texts. */
  allowedFolders: z.array(pathSchema).max(limits.allowedFolders).default([]),
});
export type Settings = z.infer<typeof settingsSchema>;

export const settingsOutputSchema = z.object({ settings: settingsSchema });

export const settingsCalls = {
  'settings.get': { input: z.strictObject({}), output: settingsOutputSchema },
  /** Changes the fields given; the others stay. */
  'settings.set': {
    input: z.strictObject({
      theme: themeSchema.optional(),
      threads: threadsSchema.optional(),
      memoryBudgetBytes: z.number().int().min(1).max(Number.MAX_SAFE_INTEGER).nullable().optional(),
      diskFloorBytes: diskFloorSchema.optional(),
      network: z.boolean().optional(),
      hubEndpoint: endpointSchema.nullable().optional(),
      modelsFolder: pathSchema.nullable().optional(),
      packagesFolder: pathSchema.nullable().optional(),
      allowedFolders: z.array(pathSchema).max(limits.allowedFolders).optional(),
    }),
    output: settingsOutputSchema,
  },
};
