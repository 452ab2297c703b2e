import { type Client, createClient } from '../contract/client.ts';
import { defaultHome } from '../service/home.ts';
import type { NetworkOptions } from '../service/network.ts';
import { childProcessHost } from '../service/process-host.ts';
import { createService, type Service } from '../service/service.ts';

/** The engine in this process, spoken to by the contract alone, as every other face does. */
export interface Connection {
  client: Client;
  close(): Promise<void>;
  terminate(): void;
}

/** @param network what the command allows beside the settings */
export function connect(network: NetworkOptions): Connection {
  const service: Service = createService({ home: defaultHome(), processHost: childProcessHost, network });
  const client = createClient({
    request: (request) => service.handle(request),
    onEvent: (listener) => service.onEvent(listener),
  });
  return { client, close: () => service.close(), terminate: () => service.terminate() };
}
