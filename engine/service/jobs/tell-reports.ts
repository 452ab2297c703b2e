import type { ServiceEvent } from '../../contract/events.ts';
import type { Job, JobDetails, JobProgress } from '../../contract/jobs.ts';
import { type Coalescer, coalesce } from '../coalesce.ts';
import { serviceLimits } from '../limits.ts';
import type { AcceptedReport, Report } from '../work-protocol.ts';
import type { JobContext } from './job.ts';

/** What a job's events told, for those who come later. */
export type Told = Omit<JobDetails, 'job'>;

type Progress = Pick<Coalescer<JobProgress>, 'push' | 'flush'>;

/** Tells what a job's work processes report: as events to those who listen now, in `told` and the job itself to those who come later. */
export function tellReports(
  job: Job,
  told: Told,
  emit: (event: ServiceEvent) => void,
): {
  message: JobContext['message'];
  onReport: (report: Report, onAccepted?: (report: AcceptedReport) => void) => void;
  /** Tells at once how far the job is, before what follows from the end of its work. */
  flush: () => void;
} {
  const { jobId } = job;
  const progress = coalesceProgress((value) => emit({ type: 'job-progress', jobId, progress: value }));
  const message: JobContext['message'] = (level, text) => {
    told.messages.push({ level, message: text });
    emit({ type: 'job-message', jobId, level, message: text });
  };
  const onReport = (report: Report, onAccepted?: (report: AcceptedReport) => void) => {
    switch (report.type) {
      case 'accepted':
        onAccepted?.(report);
        break;
      case 'progress':
        job.progress = report.progress;
        progress.push(report.progress);
        break;
      case 'layer':
        told.layers.push({ blockIndex: report.blockIndex, layer: report.layer });
        emit({ type: 'job-layer', jobId, blockIndex: report.blockIndex, layer: report.layer });
        break;
      case 'text':
        told.text += report.text;
        told.steps.push(...(report.steps ?? []));
        emit({
          type: 'job-text',
          jobId,
          text: report.text,
          tokenIds: report.tokenIds,
          ...(report.steps ? { steps: report.steps } : {}),
        });
        break;
      case 'waiting':
        break;
      case 'message':
        message(report.level, report.message);
        break;
    }
  };
  return { message, onReport, flush: () => progress.flush() };
}

/** Twenty times a second, and once a second while a benchmark is timed. */
function coalesceProgress(tell: (progress: JobProgress) => void): Progress {
  const usual = coalesce<JobProgress>(serviceLimits.progressIntervalMs, tell);
  const timed = coalesce<JobProgress>(serviceLimits.benchmarkProgressIntervalMs, tell);
  return {
    push(progress) {
      if (progress.task === 'benchmark') {
        usual.flush();
        timed.push(progress);
      } else {
        timed.flush();
        usual.push(progress);
      }
    },
    flush() {
      usual.flush();
      timed.flush();
    },
  };
}
