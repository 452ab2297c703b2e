import type { CallName, CallOutput, ParsedCallInput } from '../../contract/calls.ts';
import type { ServiceEvent } from '../../contract/events.ts';
import type { HistoryAccess } from '../history-access.ts';
import type { JobQueue } from '../jobs/queue.ts';
import type { NetworkAccess } from '../network.ts';
import type { ProcessHost } from '../process-host.ts';
import type { SettingsFile } from '../settings-file.ts';

export type Handler<N extends CallName> = (
  input: ParsedCallInput<N>,
) => CallOutput<N> | Promise<CallOutput<N>>;
export type Handlers = { [N in CallName]: Handler<N> };

/** What handlers work with. */
export interface HandlerContext {
  home: string;
  processHost: ProcessHost;
  queue: JobQueue;
  history: HistoryAccess;
  settings: SettingsFile;
  network: NetworkAccess;
  emit: (event: ServiceEvent) => void;
}
