import type { JobDefinitions } from '../jobs/job-requests.ts';
import { environmentHandlers } from './environment.ts';
import { folderHandlers } from './folders.ts';
import { generationHandlers } from './generation.ts';
import type { HandlerContext, Handlers, JobsContext } from './handlers.ts';
import { historyHandlers } from './history.ts';
import { hubHandlers, hubJobs } from './hub.ts';
import { jobHandlers } from './jobs.ts';
import { machineHandlers } from './machine.ts';
import { measurementHandlers, measurementJobs } from './measurement.ts';
import { modelHandlers } from './models.ts';
import { packageHandlers } from './packages.ts';
import { quantizationHandlers, quantizationJobs } from './quantization.ts';
import { settingsHandlers } from './settings.ts';
import { waitingJobHandlers } from './waiting-jobs.ts';

export function createHandlers(context: HandlerContext): Handlers {
  return {
    ...environmentHandlers(context),
    ...modelHandlers(context),
    ...quantizationHandlers(context),
    ...historyHandlers(context),
    ...generationHandlers(context),
    ...measurementHandlers(context),
    ...jobHandlers(context),
    ...settingsHandlers(context),
    ...folderHandlers(context),
    ...packageHandlers(context),
    ...machineHandlers(context),
    ...hubHandlers(context),
    ...waitingJobHandlers(context),
  };
}

export function createJobDefinitions(context: JobsContext): JobDefinitions {
  return { ...quantizationJobs(context), ...measurementJobs(context), ...hubJobs(context) };
}
