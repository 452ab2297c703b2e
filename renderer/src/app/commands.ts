import type { IconName } from '../components/icons.ts';
import { startOver } from '../state/draft.svelte.ts';
import { asError, engine } from '../state/engine.svelte.ts';
import { placeOfJob } from '../state/job-place.ts';
import { isActive, jobs } from '../state/jobs.svelte.ts';
import { notices } from '../state/notices.svelte.ts';
import { navigation } from '../state/route.svelte.ts';
import { settings } from '../state/settings.svelte.ts';
import { strings } from '../strings/index.ts';

/** Everything that can be done from everywhere: by the palette, by a shortcut, by the desktop's menu. */
export interface Command {
  id: string;
  label: string;
  icon: IconName;
  /** As `handleShortcut` reads it; `Mod` is Command on a Mac, Control elsewhere. */
  shortcut?: string;
  group: 'go' | 'job' | 'view';
  isOffered?: () => boolean;
  run: () => void;
}

async function attempt(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    notices.add('error', asError(error).message);
  }
}

const runningJob = () => {
  const { current } = jobs;
  return current && isActive(current.job) ? current.job : null;
};

export const commands: Command[] = [
  {
    id: 'new-run',
    label: strings.commands.newRun,
    icon: 'add',
    shortcut: 'Mod+Shift+1',
    group: 'go',
    run: () => {
      startOver();
      navigation.go({ place: 'new', step: 'model', id: null });
    },
  },
  {
    id: 'runs',
    label: strings.commands.runs,
    icon: 'runs',
    shortcut: 'Mod+Shift+2',
    group: 'go',
    run: () => navigation.go({ place: 'runs', view: 'list' }),
  },
  {
    id: 'playground',
    label: strings.commands.playground,
    icon: 'chat',
    shortcut: 'Mod+Shift+3',
    group: 'go',
    run: () => navigation.go({ place: 'playground', models: [] }),
  },
  {
    id: 'benchmark',
    label: strings.commands.benchmark,
    icon: 'speed',
    group: 'go',
    run: () => navigation.go({ place: 'benchmark', jobId: null }),
  },
  {
    id: 'settings',
    label: strings.commands.settings,
    icon: 'settings',
    shortcut: 'Mod+Shift+4',
    group: 'go',
    run: () => navigation.go({ place: 'settings' }),
  },
  {
    id: 'show-job',
    label: strings.commands.showJob,
    icon: 'play',
    group: 'job',
    isOffered: () => runningJob() !== null,
    run: () => {
      const job = runningJob();
      if (job) navigation.go(placeOfJob(job));
    },
  },
  {
    id: 'pause-job',
    label: strings.commands.pauseJob,
    icon: 'pause',
    group: 'job',
    isOffered: () => runningJob()?.state === 'running',
    run: () => {
      const job = runningJob();
      if (job) void attempt(engine.call('jobs.pause', { jobId: job.jobId }));
    },
  },
  {
    id: 'continue-job',
    label: strings.commands.continueJob,
    icon: 'play',
    group: 'job',
    isOffered: () => runningJob()?.state === 'paused' && runningJob()?.hold === null,
    run: () => {
      const job = runningJob();
      if (job) void attempt(engine.call('jobs.continue', { jobId: job.jobId }));
    },
  },
  {
    id: 'stop-job',
    label: strings.commands.stopJob,
    icon: 'stop',
    group: 'job',
    isOffered: () => runningJob() !== null,
    run: () => {
      const job = runningJob();
      if (job) void attempt(engine.call('jobs.stop', { jobId: job.jobId }));
    },
  },
  ...(['light', 'dark', 'system'] as const).map((theme) => ({
    id: `theme-${theme}`,
    label: strings.commands.theme[theme],
    icon: 'settings' as const,
    group: 'view' as const,
    isOffered: () => settings.value?.theme !== theme,
    run: () => void attempt(settings.change({ theme })),
  })),
  {
    id: 'undo-delete',
    label: strings.commands.undoDelete,
    icon: 'refresh',
    group: 'view',
    run: () => void attempt(undoDelete()),
  },
];

export async function undoDelete(): Promise<void> {
  const { restored } = await engine.call('history.undo', {});
  notices.add('info', strings.runs.restored(restored.length));
}

/** By its id; unknown ids are of a newer menu and do nothing. */
export function runCommand(id: string): void {
  const command = commands.find((each) => each.id === id);
  if (command && (command.isOffered?.() ?? true)) command.run();
}
