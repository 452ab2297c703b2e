import { z } from 'zod';
import { bytesSchema, countSchema, nameSchema, pathSchema } from './common.ts';

/** What only native code can tell; `problem` says why it could not be loaded. */
export const nativeEnvironmentSchema = z.object({
  threads: countSchema.nullable(),
  onnxruntime: z.string().nullable(),
  problem: z.string().nullable(),
});

export const environmentSchema = z.object({
  /** Of this program. */
  version: z.string(),
  node: z.string(),
  platform: z.string(),
  architecture: z.string(),
  cpu: z.object({ model: z.string(), cores: countSchema }),
  memoryBytes: bytesSchema,
  native: nativeEnvironmentSchema,
  /** DBELL_HOME. */
  home: pathSchema,
  historyFile: pathSchema,
  /** Where packages are made by default. */
  packagesFolder: pathSchema,
  /** What comes with the product. */
  samples: z.object({
    models: z.array(z.object({ name: nameSchema, path: pathSchema })),
    /** Names for `{ bundled: name }`. */
    texts: z.array(z.object({ name: nameSchema, bytes: bytesSchema })),
  }),
});
export type Environment = z.infer<typeof environmentSchema>;

export const environmentCalls = {
  environment: { input: z.strictObject({}), output: environmentSchema },
};
