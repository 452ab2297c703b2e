import type { Job } from '../../../engine/contract/jobs.ts';
import type { Route } from './route.svelte.ts';

/** Where a job is watched. */
export function placeOfJob({ kind, jobId }: Pick<Job, 'kind' | 'jobId'>): Route {
  if (kind === 'benchmark') return { place: 'benchmark', jobId };
  if (kind === 'download') return { place: 'new', step: 'model', id: null };
  if (kind === 'generate') return { place: 'playground', models: [] };
  return { place: 'new', step: 'run', id: jobId };
}
