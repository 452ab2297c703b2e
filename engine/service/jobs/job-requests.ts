import type { ParsedCallInput } from '../../contract/calls.ts';
import type { AnyJobDefinition } from './job.ts';

/**
 * Calls whose jobs are kept while they wait, so that they outlive the service's process. What is written in the playground is none of them: it answers a
 * conversation in a window, which asks again.
 */
export const jobCallNames = [
  'quantize',
  'resume',
  'verify',
  'export',
  'perplexity',
  'quality',
  'compare',
  'benchmark',
  'hub.download',
] as const;
export type JobCallName = (typeof jobCallNames)[number];

/** What was asked for: enough to make the job again. */
export interface JobRequest<N extends JobCallName = JobCallName> {
  call: N;
  input: ParsedCallInput<N>;
}

/** The jobs that the calls lead to. Each throws what the call throws, and changes nothing. */
export type JobDefinitions = { [N in JobCallName]: (input: ParsedCallInput<N>) => AnyJobDefinition };

/** The job of a request. Throws what the call throws. */
export function defineJob({ call, input }: JobRequest, definitions: JobDefinitions): AnyJobDefinition {
  // Which of the calls it is ties its input to its definition, which the types of a union cannot say.
  return (definitions[call] as (input: unknown) => AnyJobDefinition)(input);
}
