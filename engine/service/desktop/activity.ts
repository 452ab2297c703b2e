import type { ServiceEvent } from '../../contract/events.ts';
import type { Job } from '../../contract/jobs.ts';
import type { Service } from '../service.ts';
import type { Activity, FromDesktopService } from './desktop-protocol.ts';

const isOver = ({ state }: Job) => state === 'finished' || state === 'failed' || state === 'stopped';

/** Tells the main process what the jobs do, whenever it changes. */
export function watchActivity(service: Service, tell: (message: FromDesktopService) => void): void {
  const jobs = new Map<string, Job>();
  let told = '';
  const tellActivity = () => {
    const open = [...jobs.values()];
    const running = open.find(({ state }) => state === 'running' || state === 'stopping');
    const fraction = (running ?? open.find(({ state }) => state === 'paused'))?.progress?.fraction ?? null;
    // Hundredths are what a taskbar shows.
    const activity: Activity = {
      openJobs: open.length,
      working: running !== undefined,
      fraction: fraction === null ? null : Math.round(fraction * 100) / 100,
    };
    const next = JSON.stringify(activity);
    if (next === told) return;
    told = next;
    tell({ type: 'activity', activity });
  };
  service.onEvent((event: ServiceEvent) => {
    if (event.type === 'job-progress') {
      const job = jobs.get(event.jobId);
      if (job) job.progress = event.progress;
    } else if (event.type === 'job-state') {
      const { job } = event;
      if (isOver(job)) {
        if (jobs.delete(job.jobId)) tell(endOf(job));
      } else jobs.set(job.jobId, structuredClone(job));
    } else return;
    tellActivity();
  });
}

function endOf(job: Job): FromDesktopService {
  const { models, output } = job.subject;
  const subject = job.kind === 'quantize' ? output : (models[0] ?? null);
  return {
    type: 'job-ended',
    kind: job.kind,
    state: job.state as 'finished' | 'failed' | 'stopped',
    subject,
    message: job.error?.message ?? null,
  };
}
