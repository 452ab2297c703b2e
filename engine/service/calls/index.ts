import { environmentHandlers } from './environment.ts';
import { generationHandlers } from './generation.ts';
import type { HandlerContext, Handlers } from './handlers.ts';
import { jobHandlers } from './jobs.ts';
import { measurementHandlers } from './measurement.ts';
import { modelHandlers } from './models.ts';
import { quantizationHandlers } from './quantization.ts';

export function createHandlers(context: HandlerContext): { handlers: Handlers; close: () => void } {
  const handlers: Handlers = {
    ...environmentHandlers(context),
    ...modelHandlers(context),
    ...quantizationHandlers(context),
    ...generationHandlers(context),
    ...measurementHandlers(context),
    ...jobHandlers(context),
  };
  return { handlers, close: () => {} };
}
