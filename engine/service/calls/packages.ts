import path from 'node:path';
import type { History } from '../../history/history.ts';
import { packagesFolderOf } from '../home.ts';
import type { JobQueue } from '../jobs/queue.ts';
import { findPackages, findUnfinished, suggestOutput } from '../packages.ts';
import { startTask } from '../supervisor.ts';
import type { HandlerContext, Handlers } from './handlers.ts';

type PackageCall =
  | 'packages.list'
  | 'packages.quality'
  | 'packages.channelWeights'
  | 'runs.unfinished'
  | 'outputs.suggest';

export function packageHandlers(context: HandlerContext): Pick<Handlers, PackageCall> {
  const { home, history, processHost, queue, settings } = context;
  const packagesFolder = () => packagesFolderOf(home, settings.get().packagesFolder);
  /** A history that cannot be used must not hide the packages that are there. */
  const openedHistory = (): History | null => {
    try {
      return history.open();
    } catch {
      return null;
    }
  };
  return {
    'packages.list': async () => {
      const candidates = findPackages(packagesFolder(), openedHistory());
      if (candidates.length === 0) return { packages: [] };
      // In a process of its own: a package is hostile until it is read.
      const paths = candidates.map((candidate) => candidate.path);
      const { packages } = await startTask(processHost, 'describePackages', { packages: paths }).done;
      return {
        packages: candidates.map((candidate, index) => ({
          ...packages[index]!,
          ...candidate,
          name: path.basename(candidate.path),
        })),
      };
    },
    'packages.quality': (input) => startTask(processHost, 'packageQuality', input).done,
    'packages.channelWeights': (input) => startTask(processHost, 'channelWeights', input).done,
    'runs.unfinished': () => {
      const inWork = outputsInWork(queue);
      return {
        runs: findUnfinished(packagesFolder(), openedHistory()).filter((run) => !inWork.has(run.path)),
      };
    },
    'outputs.suggest': ({ model, recipe }) => ({
      path: suggestOutput(packagesFolder(), model, recipe, outputsInWork(queue)),
    }),
  };
}

/** Where jobs write that run or wait: one that waits has its output for sure, and its folder perhaps. */
function outputsInWork(queue: JobQueue): Set<string> {
  return new Set(
    queue
      .list()
      .filter(({ endedAt }) => endedAt === null)
      .map(({ kind, resumable, subject }) => (kind === 'quantize' ? subject.output : resumable?.path))
      .filter((output) => typeof output === 'string'),
  );
}
