import type { Job } from '../../../engine/contract/jobs.ts';
import { strings } from '../strings/index.ts';
import { baseName } from './numbers.ts';

/** "Quantize: dbell-stories-7m · grid-4". */
export function jobTitle({ tasks, subject }: Pick<Job, 'tasks' | 'subject'>): string {
  return [
    `${strings.tasks[tasks[0]!]}: ${subject.models.map(baseName).join(', ')}`,
    ...(subject.recipe === null ? [] : [subject.recipe]),
  ].join(' · ');
}
