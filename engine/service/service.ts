import packageJson from '../../package.json' with { type: 'json' };
import { type CallName, calls, isCallName } from '../contract/calls.ts';
import { describeIssues, parseAs, toErrorPayload } from '../contract/error-payload.ts';
import { DBellError } from '../contract/errors.ts';
import type { ServiceEvent } from '../contract/events.ts';
import { type Response, requestSchema } from '../contract/protocol.ts';
import { issueInWords } from '../contract/wording.ts';
import { machineConditions } from '../measure/conditions.ts';
import type { Handlers } from './calls/handlers.ts';
import { createHandlers } from './calls/index.ts';
import { createHistoryAccess } from './history-access.ts';
import { historyFile } from './home.ts';
import { withHomeExpanded } from './home-folder.ts';
import { JobQueue } from './jobs/queue.ts';
import { createNetworkAccess, type NetworkOptions } from './network.ts';
import type { ProcessHost } from './process-host.ts';
import { toJson } from './runs.ts';
import { openSettings } from './settings-file.ts';

export interface ServiceOptions {
  /** Folder of the history and the settings; see home.ts for the default. */
  home: string;
  processHost: ProcessHost;
  /** What a command line allows for itself. */
  network?: NetworkOptions;
}

/**
 * The engine behind the contract. Transports (a function call, a MessagePort, a WebSocket) hand each message to `handle` and send on what
 * it answers; they need to know nothing else.
 */
export interface Service {
  /** Answers every value whatsoever; never throws. */
  handle(message: unknown): Promise<Response>;
  /** `sequence` counts the events from 1, for all listeners alike. Returns how to stop listening. */
  onEvent(listener: (event: ServiceEvent, sequence: number) => void): () => void;
  /** The Hugging Face token of a face that keeps one; it stays in memory. */
  setHubToken(token: string | null): void;
  /** Stops all jobs, waits for their processes, closes the history. */
  close(): Promise<void>;
  /** Ends the work processes at once without waiting; what they did is resumable. */
  terminate(): void;
}

export function createService({ home, processHost, network }: ServiceOptions): Service {
  const listeners = new Set<(event: ServiceEvent, sequence: number) => void>();
  let sequence = 0;
  const emit = (event: ServiceEvent) => {
    sequence++;
    for (const listener of listeners) listener(event, sequence);
  };
  const settings = openSettings(home, (message) =>
    emit({ type: 'service-message', level: 'warning', message }),
  );
  const queue = new JobQueue(processHost, emit, { diskFloorBytes: () => settings.get().diskFloorBytes });
  const history = createHistoryAccess(
    historyFile(home),
    toJson({ ...machineConditions(), version: packageJson.version }),
    {
      warn: (message) => emit({ type: 'service-message', level: 'warning', message }),
      changed: () => emit({ type: 'history-changed' }),
    },
  );
  const access = createNetworkAccess(settings, processHost, network);
  const handlers = createHandlers({
    home,
    processHost,
    queue,
    history,
    settings,
    network: access,
    emit,
  });

  return {
    async handle(message) {
      const request = requestSchema.safeParse(message, { error: issueInWords });
      if (!request.success) {
        const error = {
          code: 'invalid-input' as const,
          message: `request: ${describeIssues(request.error)}`,
        };
        return { id: null, error };
      }
      const { id, call, input } = request.data;
      try {
        return { id, output: await answer(handlers, call, input) };
      } catch (error) {
        return { id, error: toErrorPayload(error) };
      }
    },
    onEvent(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    setHubToken: (token) => access.setToken(token),
    async close() {
      await queue.close();
      history.close();
    },
    terminate: () => queue.terminate(),
  };
}

/** Checks the input, calls the handler, checks the output. */
async function answer(handlers: Handlers, call: string, input: unknown): Promise<unknown> {
  if (!isCallName(call)) throw new DBellError('invalid-input', `there is no call "${call}"`);
  const name: CallName = call;
  const parsed = withHomeExpanded(calls[name].input, parseAs(calls[name].input, input, call));
  const handler = handlers[name] as (input: unknown) => unknown;
  return parseAs(calls[name].output, await handler(parsed), `output of ${call}`, 'internal');
}
