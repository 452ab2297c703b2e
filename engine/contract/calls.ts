import type { z } from 'zod';
import { compareCalls } from './compare.ts';
import { environmentCalls } from './environment.ts';
import { exportCalls } from './export.ts';
import { folderCalls } from './folders.ts';
import { generationCalls } from './generation.ts';
import { historyCalls } from './history.ts';
import { hubCalls } from './hub.ts';
import { jobCalls } from './jobs.ts';
import { machineCalls } from './machine.ts';
import { measurementCalls } from './measurement.ts';
import { modelCalls } from './models.ts';
import { packageCalls } from './packages.ts';
import { qualityCalls } from './quality.ts';
import { quantizationCalls } from './quantization.ts';
import { settingsCalls } from './settings.ts';
import { textPreviewCalls } from './text-preview.ts';
import { waitingJobCalls } from './waiting-jobs.ts';

/**
 * Every call of the engine: what goes in and what comes back. Both are checked at run time on the side that receives them. Long work is a
 * job: its call answers at once with a `jobId`, events tell how it goes, `jobs.wait` answers at its end.
 */
export const calls = {
  ...environmentCalls,
  ...modelCalls,
  ...quantizationCalls,
  ...exportCalls,
  ...generationCalls,
  ...measurementCalls,
  ...qualityCalls,
  ...compareCalls,
  ...historyCalls,
  ...jobCalls,
  ...settingsCalls,
  ...textPreviewCalls,
  ...folderCalls,
  ...packageCalls,
  ...machineCalls,
  ...hubCalls,
  ...waitingJobCalls,
} as const;

export type Calls = typeof calls;
export type CallName = keyof Calls;
/** What a caller passes; fields with defaults may be left out. */
export type CallInput<N extends CallName> = z.input<Calls[N]['input']>;
/** What a handler receives: defaults filled in. */
export type ParsedCallInput<N extends CallName> = z.output<Calls[N]['input']>;
export type CallOutput<N extends CallName> = z.output<Calls[N]['output']>;

export function isCallName(name: string): name is CallName {
  return Object.hasOwn(calls, name);
}
