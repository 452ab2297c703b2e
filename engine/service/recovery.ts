import type { Service } from './service.ts';

/**
 * Supervision across an unexpected end of the service's own process: it tells its supervisor which outputs are being worked on, and its successor
 * takes them up again.
 */
export function watchUnfinished(service: Service, tell: (paths: string[]) => void): void {
  const running = new Map<string, string>();
  let told = '';
  service.onEvent((event) => {
    if (event.type !== 'job-state') return;
    const { job } = event;
    const isOver = job.state === 'finished' || job.state === 'failed' || job.state === 'stopped';
    if (isOver || job.state === 'stopping' || job.resumable === null) running.delete(job.jobId);
    else running.set(job.jobId, job.resumable.path);
    const paths = [...new Set(running.values())];
    const next = JSON.stringify(paths);
    if (next === told) return;
    told = next;
    tell(paths);
  });
}

/**
 * Takes up what the process before left: what was running first, then its queue. What cannot be taken up stays in the history as interrupted, or waits for the person.
 */
export async function resumeUnfinished(service: Service, paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    await service.handle({ id: `resume ${path}`.slice(0, 64), call: 'resume', input: { path } });
  }
  service.restoreQueue();
}
