import { type CallInput, type CallName, type CallOutput, calls } from './calls.ts';
import { fromErrorPayload, parseAs } from './error-payload.ts';
import { eventSchema, type ServiceEvent } from './events.ts';
import { type Request, responseSchema } from './protocol.ts';

/** What carries requests to a service and events from it. Nothing that comes back is trusted. */
export interface Transport {
  request(request: Request): Promise<unknown>;
  /** `sequence` counts the service's events. Returns how to stop listening. */
  onEvent(listener: (event: unknown, sequence: number) => void): () => void;
}

/** The contract as functions: typed, checked in both directions, over any transport. */
export interface Client {
  /** Throws a DBellError with the service's code and message. */
  call<N extends CallName>(name: N, input: CallInput<N>): Promise<CallOutput<N>>;
  onEvent(listener: (event: ServiceEvent, sequence: number) => void): () => void;
}

export function createClient(transport: Transport): Client {
  let nextId = 1;
  return {
    async call<N extends CallName>(name: N, input: CallInput<N>): Promise<CallOutput<N>> {
      const id = nextId++;
      const raw = await transport.request({ id, call: name, input });
      const response = parseAs(responseSchema, raw, `response to ${name}`, 'internal');
      if ('error' in response) throw fromErrorPayload(response.error);
      return parseAs(calls[name].output, response.output, `output of ${name}`, 'internal') as CallOutput<N>;
    },
    onEvent(listener) {
      return transport.onEvent((event, sequence) =>
        listener(parseAs(eventSchema, event, 'event', 'internal'), sequence),
      );
    },
  };
}
