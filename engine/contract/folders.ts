import { z } from 'zod';
import { bytesSchema, pathSchema, timeSchema } from './common.ts';
import { limits } from './limits.ts';

/**
 * Looking for models, texts and places on the computer where the service runs, for a page that has no file dialogs of the system. It leads only
 * below the roots that the person allows; links are followed as far as they stay there.
 */
export const folderRootSchema = z.object({
  path: pathSchema,
  name: z.string(),
  /** `allowed`: added in the settings; the others are there by themselves. */
  kind: z.enum(['home', 'packages', 'samples', 'volume', 'allowed']),
});
export type FolderRoot = z.infer<typeof folderRootSchema>;

export const folderEntrySchema = z.object({
  name: z.string(),
  path: pathSchema,
  kind: z.enum(['folder', 'file']),
  bytes: bytesSchema.nullable(),
  modifiedAt: timeSchema.nullable(),
  /** By its name and a glance into it; only `inspect` knows. `unfinished`: a quantization that can be resumed. */
  looksLike: z.enum(['model', 'package', 'gguf', 'text', 'unfinished']).nullable(),
});
export type FolderEntry = z.infer<typeof folderEntrySchema>;

/** One name in a folder, not a path. */
export const entryNameSchema = z
  .string()
  .min(1)
  .max(limits.fileNameLength)
  .refine((name) => !/[/\\\0]/.test(name) && name !== '.' && name !== '..', 'not the name of a folder')
  .refine((name) => name.trim() !== '', 'a name that nobody could see');

export const folderCalls = {
  'folders.roots': { input: z.strictObject({}), output: z.object({ roots: z.array(folderRootSchema) }) },
  /** Folders first, each kind by name; hidden entries are left out. Throws `not-found` outside the roots, whether or not something is there. */
  'folders.list': {
    input: z.strictObject({ path: pathSchema }),
    output: z.object({
      /** Without links. */
      path: pathSchema,
      /** Null at a root. */
      parent: pathSchema.nullable(),
      looksLike: folderEntrySchema.shape.looksLike,
      entries: z.array(folderEntrySchema),
      /** More entries than are listed. */
      truncated: z.boolean(),
    }),
  },
  'folders.create': {
    input: z.strictObject({ parent: pathSchema, name: entryNameSchema }),
    output: z.object({ path: pathSchema }),
  },
};
