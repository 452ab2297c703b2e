import { z } from 'zod';
import {
  calibrationSourceSchema,
  contextSchema,
  countSchema,
  pathSchema,
  seedSchema,
  sha256Schema,
  windowCountSchema,
} from './common.ts';

/** The very tokens a calibration would see. */
export const textPreviewSchema = z.object({
  textName: z.string(),
  /** Null for a text that is yet to be written. */
  textSha256: sha256Schema.nullable(),
  documents: countSchema,
  /** Of the whole text. */
  totalTokens: countSchema,
  /** How many whole windows the text has. */
  availableWindows: countSchema,
  context: countSchema,
  /** First tokens of the first chosen windows: their texts, joined by nothing. */
  windows: z.array(z.object({ tokens: z.array(z.object({ id: countSchema, text: z.string() })) })),
  /** Over the ids of all chosen windows; what a package names. Null like `textSha256`. */
  fingerprint: sha256Schema.nullable(),
  /** Of a text that the model writes itself, in words. */
  notes: z.array(z.string()),
});
export type TextPreview = z.infer<typeof textPreviewSchema>;

export const textPreviewCalls = {
  /** Tokenizes a text as `quantize` would, with the same choice of windows. */
  previewText: {
    input: z.strictObject({
      model: pathSchema,
      text: calibrationSourceSchema,
      context: contextSchema.optional(),
      windows: windowCountSchema.default(64),
      seed: seedSchema.optional(),
    }),
    output: textPreviewSchema,
  },
};
