import { environmentHandlers } from './environment.ts';
import type { HandlerContext, Handlers } from './handlers.ts';
import { jobHandlers } from './jobs.ts';
import { quantizationHandlers } from './quantization.ts';

export function createHandlers(context: HandlerContext): { handlers: Handlers; close: () => void } {
  const handlers: Handlers = {
    ...environmentHandlers(context),
    ...quantizationHandlers(),
    ...jobHandlers(context),
  };
  return { handlers, close: () => {} };
}
