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

/** What can run packed models besides the processor. */
export const devicesSchema = z.object({
  /** Adapter N is `gpu:N`. */
  adapters: z.array(
    z.object({
      name: z.string(),
      /** `vulkan`, `metal`, `d3d12`, …. */
      backend: z.string(),
      /** Computes on the processor; no GPU. */
      isSoftware: z.boolean(),
      /** What the driver says of itself; empty where it says nothing. */
      driver: z.string(),
      /** Why it cannot run packed models; null where it can. */
      problem: z.string().nullable(),
    }),
  ),
  /** Why there is none; null where there is one. */
  problem: z.string().nullable(),
});
export type Devices = z.infer<typeof devicesSchema>;

export const environmentCalls = {
  environment: { input: z.strictObject({}), output: environmentSchema },
  /** Asks the drivers, in a process of its own. */
  devices: { input: z.strictObject({}), output: devicesSchema },
};
