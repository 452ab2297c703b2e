import { z } from 'zod';
import { bytesSchema, countSchema, pathSchema } from './common.ts';

/** This computer as it is now, from what the system tells; null where it does not. Quick: asks no native code. */
export const machineSchema = z.object({
  cpuModel: z.string(),
  instructionSets: z.array(z.string()),
  logicalCores: countSchema,
  /** That this process may use. */
  availableCores: countSchema,
  /** Cores' worth of time that the control group allows. */
  cpuQuotaCores: z.number().nullable(),
  isVirtualMachine: z.boolean().nullable(),
  memoryBytes: bytesSchema,
  freeMemoryBytes: bytesSchema,
  /** Of the volume of the folder for packages. */
  disk: z.object({ folder: pathSchema, totalBytes: bytesSchema, freeBytes: bytesSchema }).nullable(),
  loadAverage: z.tuple([z.number(), z.number(), z.number()]).nullable(),
  governor: z.string().nullable(),
  powerSource: z.enum(['mains', 'battery']).nullable(),
  temperatureCelsius: z.number().nullable(),
  platform: z.string(),
  systemRelease: z.string(),
  architecture: z.string(),
});
export type Machine = z.infer<typeof machineSchema>;

export const machineCalls = { machine: { input: z.strictObject({}), output: machineSchema } };
