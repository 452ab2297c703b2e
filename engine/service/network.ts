import { defaultHubEndpoint } from '../contract/endpoint.ts';
import { DBellError } from '../contract/errors.ts';
import type { ProcessHost } from './process-host.ts';
import type { SettingsFile } from './settings-file.ts';
import { type RunningTask, startTask } from './supervisor.ts';
import type { TaskInput, TaskKind, TaskResult } from './work-protocol.ts';

/** What a command line says for itself, beside the settings. */
export interface NetworkOptions {
  /** As if the network switch were on. */
  allow?: boolean;
  /** Instead of the settings' server. */
  endpoint?: string;
}

/** Where models come from, for a task. */
export interface HubAccess {
  endpoint: string;
  token: string | null;
}

type HubTask = 'hubSearch' | 'hubModel';

/**
 * The network switch. Whatever leaves this machine asks here first; it begins in a work process, and ends with it as soon as the switch is turned off.
 */
export interface NetworkAccess {
  isAllowed(): boolean;
  endpoint(): string;
  tokenSource(): 'none' | 'environment' | 'given';
  /** Kept in memory alone; null forgets it. */
  setToken(token: string | null): void;
  /** @throws DBellError `network-off` */
  access(): HubAccess;
  /** Runs a short task that needs the network. */
  ask<K extends HubTask>(task: K, input: Omit<TaskInput<K>, 'access'>): Promise<TaskResult<K>>;
  /** The switch was turned off: ends what `ask` has begun. */
  turnedOff(): void;
}

export function createNetworkAccess(
  settings: SettingsFile,
  processHost: ProcessHost,
  options: NetworkOptions = {},
  environment: NodeJS.ProcessEnv = process.env,
): NetworkAccess {
  let given: string | null = null;
  const fromEnvironment = environment.HF_TOKEN?.trim() || null;
  const running = new Set<RunningTask<TaskKind>>();
  const isAllowed = () => options.allow === true || settings.get().network;
  const endpoint = () => options.endpoint ?? settings.get().hubEndpoint ?? defaultHubEndpoint;
  const access = (): HubAccess => {
    if (!isAllowed()) {
      throw new DBellError(
        'network-off',
        'the network switch is off, so that nothing leaves this machine; turn it on in the settings, or for one command with --network',
      );
    }
    return { endpoint: endpoint(), token: given ?? fromEnvironment };
  };
  return {
    isAllowed,
    endpoint,
    tokenSource: () => (given !== null ? 'given' : fromEnvironment !== null ? 'environment' : 'none'),
    setToken(token) {
      given = token?.trim() || null;
    },
    access,
    async ask(task, input) {
      const full = { ...input, access: access() } as TaskInput<typeof task>;
      const started = startTask(processHost, task, full);
      const entry = started as unknown as RunningTask<TaskKind>;
      running.add(entry);
      try {
        return await started.done;
      } finally {
        running.delete(entry);
      }
    },
    turnedOff() {
      if (isAllowed()) return;
      for (const task of running) task.kill();
    },
  };
}
