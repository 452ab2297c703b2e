import type { Port, ServerMessage } from '../contract/port.ts';
import { serviceLimits } from './limits.ts';
import type { Service } from './service.ts';

/** Serves one page, window or other client over a port until it closes. */
export function serveConnection(service: Service, port: Port): void {
  let inFlight = 0;
  const send = (message: ServerMessage) => port.send(message);
  const stopListening = service.connect((event, sequence) => send({ event, sequence }));
  port.onClose(stopListening);
  port.onMessage((raw) => {
    // A client that asks without ever waiting is broken or hostile; its own port is all it loses.
    if (inFlight >= serviceLimits.requestsInFlight) {
      port.close();
      return;
    }
    inFlight++;
    void service.handle(raw).then((response) => {
      inFlight--;
      send({ response });
    });
  });
}
