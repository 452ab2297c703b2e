import { parseAs } from '../../contract/error-payload.ts';
import { DBellError } from '../../contract/errors.ts';
import { serveConnection } from '../connection.ts';
import { type MessagePortLike, messagePort } from '../message-port.ts';
import { takeUpUnfinished, watchUnfinished } from '../recovery.ts';
import { createService, type Service } from '../service.ts';
import type { ParentPort } from '../work-channel.ts';
import { watchActivity } from './activity.ts';
import {
  type FromDesktopService,
  type ToDesktopService,
  toDesktopServiceSchema,
} from './desktop-protocol.ts';
import { createUtilityProcessHost } from './utility-process-host.ts';

/** The service as the desktop's main process starts it, in a utility process. */
export function runDesktopService(parent: ParentPort): void {
  const send = (message: FromDesktopService) => parent.postMessage(message);
  const processHost = createUtilityProcessHost(send);
  let service: Service | null = null;

  const start = ({ home, studioId, resume }: Extract<ToDesktopService, { type: 'start' }>) => {
    const started = createService({ home, studioId, processHost });
    service = started;
    watchUnfinished(started, (jobs) => send({ type: 'unfinished', jobs }));
    watchActivity(started, send);
    send({ type: 'ready' });
    takeUpUnfinished(started, resume);
  };
  const handle = async (raw: unknown, port: MessagePortLike | undefined) => {
    const message = parseAs(toDesktopServiceSchema, raw, 'message of the main process', 'internal');
    switch (message.type) {
      case 'start':
        start(message);
        break;
      case 'client':
        if (!service || !port)
          throw new DBellError('internal', 'a window came before the service or without port');
        serveConnection(service, messagePort(port));
        break;
      case 'hub-token':
        service?.setHubToken(message.token);
        break;
      case 'worker-started':
        if (!port) throw new DBellError('internal', 'a work process came without its port');
        processHost.started(message.workerId, message.pid, port);
        break;
      case 'worker-ended':
        processHost.ended(message.workerId, message.exitCode, message.output);
        break;
      case 'close':
        await service?.close();
        send({ type: 'closed' });
        break;
    }
  };
  parent.on('message', ({ data, ports }) => {
    // A defect between main and service has no window to be shown in: it ends the service, whose supervisor tells.
    void handle(data, ports[0]).catch((error) => {
      setImmediate(() => {
        throw error;
      });
    });
  });
}
