import { fromErrorPayload } from '../../contract/error-payload.ts';
import { DBellError } from '../../contract/errors.ts';
import type { Port } from '../../contract/port.ts';
import { messagePort } from '../message-port.ts';
import type { ParentPort } from '../work-channel.ts';
import { type ToMain, toComputingWorkerSchema } from './compute-protocol.ts';

/** Asks the main process for a window that computes on a GPU. Throws DBellError with its reason. */
export function requestComputePort(parent: ParentPort): Promise<Port> {
  return new Promise((resolve, reject) => {
    parent.on('message', ({ data, ports: [port] }) => {
      const answer = toComputingWorkerSchema.safeParse(data);
      // The port of the service comes the same way.
      if (!answer.success) return;
      if (answer.data.type === 'no-compute') reject(fromErrorPayload(answer.data.error));
      else if (port) resolve(messagePort(port));
      else reject(new DBellError('internal', 'the main process sent no port to the window that computes'));
    });
    parent.postMessage({ type: 'open-compute' } satisfies ToMain);
  });
}
