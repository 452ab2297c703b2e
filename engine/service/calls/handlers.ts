import type { CallName, CallOutput, ParsedCallInput } from '../../contract/calls.ts';
import type { ServiceEvent } from '../../contract/events.ts';
import type { HistoryAccess } from '../history-access.ts';
import type { JobCallName } from '../jobs/job-requests.ts';
import type { JobQueue } from '../jobs/queue.ts';
import type { WaitingJobs } from '../jobs/waiting-jobs.ts';
import type { NetworkAccess } from '../network.ts';
import type { ProcessHost } from '../process-host.ts';
import type { SettingsFile } from '../settings-file.ts';

export type Handler<N extends CallName> = (
  input: ParsedCallInput<N>,
) => CallOutput<N> | Promise<CallOutput<N>>;
export type Handlers = { [N in CallName]: Handler<N> };

/** What jobs are made from. */
export interface JobsContext {
  home: string;
  history: HistoryAccess;
  settings: SettingsFile;
  network: NetworkAccess;
}

/** What handlers work with. */
export interface HandlerContext extends JobsContext {
  processHost: ProcessHost;
  queue: JobQueue;
  /** Puts the job of a call into the queue, kept where this service keeps jobs. */
  startJob: <N extends JobCallName>(
    call: N,
    input: ParsedCallInput<N>,
  ) => { jobId: string; runId: string | null };
  waiting: WaitingJobs;
  emit: (event: ServiceEvent) => void;
}
