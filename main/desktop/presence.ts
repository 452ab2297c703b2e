import path from 'node:path';
import type { BrowserWindow } from 'electron';
import type { Activity, FromDesktopService } from '../../engine/service/desktop/desktop-protocol.ts';
import type { ElectronApi } from './electron-api.ts';
import { strings } from './strings.ts';

type JobEnded = Extract<FromDesktopService, { type: 'job-ended' }>;

/** What the desktop shows of the jobs outside the window: no sleep while they work, progress in the taskbar, a notification at the end. */
export interface Presence {
  update(activity: Activity): void;
  ended(job: JobEnded): void;
  /** Whether quitting now would stop work. */
  isBusy(): boolean;
}

/** In a taskbar, a value above 1 means "busy, nobody knows how long". */
const indeterminate = 2;

export function createPresence(
  electron: Pick<ElectronApi, 'powerSaveBlocker' | 'Notification'>,
  window: () => BrowserWindow | null,
): Presence {
  let blockerId: number | null = null;
  let openJobs = 0;
  return {
    update(activity) {
      openJobs = activity.openJobs;
      if (activity.working && blockerId === null) {
        blockerId = electron.powerSaveBlocker.start('prevent-app-suspension');
      } else if (!activity.working && blockerId !== null) {
        electron.powerSaveBlocker.stop(blockerId);
        blockerId = null;
      }
      const mode = activity.openJobs > 0 && !activity.working ? 'paused' : 'normal';
      // Below 0 the bar is taken away.
      const progress = activity.openJobs === 0 ? -1 : (activity.fraction ?? indeterminate);
      window()?.setProgressBar(progress, { mode });
    },
    ended(job) {
      const texts = (strings.ended as Record<string, { finished: string; failed: string } | null>)[job.kind];
      // A person who stopped it, or looks at the window, knows.
      if (!texts || job.state === 'stopped' || window()?.isFocused() || !electron.Notification.isSupported())
        return;
      const notification = new electron.Notification({
        title: texts[job.state],
        body: job.message ?? (job.subject === null ? '' : path.basename(job.subject)),
      });
      notification.on('click', () => {
        window()?.show();
        window()?.focus();
      });
      notification.show();
    },
    isBusy: () => openJobs > 0,
  };
}
