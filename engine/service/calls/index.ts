import { environmentHandlers } from './environment.ts';
import { folderHandlers } from './folders.ts';
import { generationHandlers } from './generation.ts';
import type { HandlerContext, Handlers } from './handlers.ts';
import { historyHandlers } from './history.ts';
import { hubHandlers } from './hub.ts';
import { jobHandlers } from './jobs.ts';
import { machineHandlers } from './machine.ts';
import { measurementHandlers } from './measurement.ts';
import { modelHandlers } from './models.ts';
import { packageHandlers } from './packages.ts';
import { quantizationHandlers } from './quantization.ts';
import { settingsHandlers } from './settings.ts';

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
  };
}
