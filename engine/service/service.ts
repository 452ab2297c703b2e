import packageJson from '../../package.json' with { type: 'json' };
import { type CallName, calls, isCallName } from '../contract/calls.ts';
import { describeIssues, parseAs, toErrorPayload } from '../contract/error-payload.ts';
import { DBellError } from '../contract/errors.ts';
import { type Response, requestSchema } from '../contract/protocol.ts';
import { issueInWords } from '../contract/wording.ts';
import { machineConditions } from '../measure/conditions.ts';
import type { HandlerContext, Handlers } from './calls/handlers.ts';
import { isUnfinishedDownload } from './calls/hub.ts';
import { createHandlers, createJobDefinitions } from './calls/index.ts';
import { type EventListener, EventStream } from './event-stream.ts';
import { createHistoryAccess } from './history-access.ts';
import { historyFile, queueFile } from './home.ts';
import { withHomeExpanded } from './home-folder.ts';
import { defineJob, type JobRequest } from './jobs/job-requests.ts';
import { KeptJobStore } from './jobs/kept-job-store.ts';
import { jobKeeper, noKeeper } from './jobs/kept-jobs.ts';
import { JobQueue } from './jobs/queue.ts';
import { createWaitingJobs, keepableRequest, noWaitingJobs, takenUpInWords } from './jobs/waiting-jobs.ts';
import { createNetworkAccess, type NetworkOptions } from './network.ts';
import type { ProcessHost } from './process-host.ts';
import { toJson } from './runs.ts';
import { openSettings } from './settings-file.ts';

export interface ServiceOptions {
  /** Folder of the history and the settings; see home.ts for the default. */
  home: string;
  processHost: ProcessHost;
  /**
   * Jobs that wait are kept beyond the end of this process, for this studio: one supervisor and all services that it starts, one after another. Without it, as for a
   * command line, they end with the process.
   */
  studioId?: string;
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
  onEvent(listener: EventListener): () => void;
  /** As `onEvent`, for a client that comes and goes: it also hears what was said of the service while no client was there. */
  connect(listener: EventListener): () => void;
  /** The Hugging Face token of a face that keeps one; it stays in memory. */
  setHubToken(token: string | null): void;
  /** Takes up a quantization that the service before this one left in its work folder when it died; what cannot be taken up is told. */
  takeUp(path: string, isPaused: boolean): void;
  /** Puts back into the queue what the service before this one, of the same studio, had in it when it died; `pausedJobs` that had begun are paused again. */
  restoreQueue(pausedJobs?: readonly string[]): void;
  /** Stops all jobs, waits for their processes, closes the history. */
  close(): Promise<void>;
  /** Ends the work processes at once without waiting; what they did is resumable. */
  terminate(): void;
}

export function createService({ home, processHost, studioId, network }: ServiceOptions): Service {
  const events = new EventStream();
  const { emit } = events;
  const warn = (message: string) => emit({ type: 'service-message', level: 'warning', message });
  const settings = openSettings(home, warn);
  const warnOnce = once(warn);
  const store = studioId === undefined ? null : new KeptJobStore(queueFile(home), studioId, warnOnce);
  const queue = new JobQueue(processHost, emit, {
    diskFloorBytes: () => settings.get().diskFloorBytes,
    keeper: store ? jobKeeper(store, warnOnce) : noKeeper,
  });
  const history = createHistoryAccess(
    historyFile(home),
    toJson({ ...machineConditions(), version: packageJson.version }),
    {
      warn,
      changed: () => emit({ type: 'history-changed' }),
    },
  );
  const access = createNetworkAccess(settings, processHost, network);
  const context = { home, history, settings, network: access };
  const definitions = createJobDefinitions(context);
  const startJob: HandlerContext['startJob'] = (call, input) => {
    const definition = defineJob({ call, input } as unknown as JobRequest, definitions);
    const { jobId, runId } = queue.add(definition, {
      request: keepableRequest(call, input) as unknown as JobRequest,
    });
    return { jobId, runId };
  };
  const waiting =
    store === null || studioId === undefined
      ? noWaitingJobs
      : createWaitingJobs({
          ...{ store, studioId, queue, definitions, warn },
          isUnfinishedDownload: (input) => isUnfinishedDownload(home, input),
          changed: () => emit({ type: 'waiting-changed' }),
        });
  const handlers = createHandlers({ ...context, processHost, queue, startJob, waiting, emit });

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
    onEvent: (listener) => events.listen(listener),
    connect: (listener) => events.connect(listener),
    setHubToken: (token) => access.setToken(token),
    takeUp(path, isPaused) {
      try {
        const request = keepableRequest('resume', { path });
        const message = takenUpInWords(isPaused);
        queue.add(defineJob(request, definitions), { request, message, beginsPaused: isPaused });
      } catch (error) {
        warn(`the quantization in ${path} could not be taken up: ${toErrorPayload(error).message}`);
      }
    },
    restoreQueue(pausedJobs = []) {
      waiting.restore(pausedJobs);
      events.started();
    },
    async close() {
      await queue.close();
      history.close();
    },
    terminate: () => queue.terminate(),
  };
}

/** Says each message the first time only. */
function once(tell: (message: string) => void): (message: string) => void {
  const told = new Set<string>();
  return (message) => {
    if (told.has(message)) return;
    told.add(message);
    tell(message);
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
