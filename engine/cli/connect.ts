import { type Client, createClient } from '../contract/client.ts';
import { defaultHome } from '../service/home.ts';
import { childProcessHost } from '../service/process-host.ts';
import { createService, type Service } from '../service/service.ts';

/** The engine in this process, spoken to by the contract alone, as every other face does. */
export interface Connection {
  client: Client;
  close(): Promise<void>;
  terminate(): void;
}

export function connect(): Connection {
  const service: Service = createService({ home: defaultHome(), processHost: childProcessHost });
  const client = createClient({
    request: (request) => service.handle(request),
    onEvent: (listener) => service.onEvent(listener),
  });
  return { client, close: () => service.close(), terminate: () => service.terminate() };
}
