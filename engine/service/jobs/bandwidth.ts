import { toErrorPayload } from '../../contract/error-payload.ts';
import type { BenchmarkSubject, MemoryBandwidth } from '../../contract/measurement.ts';
import { bandwidthShares } from '../../measure/bandwidth-share.ts';
import type { JobContext } from './job.ts';

/** How fast this machine reads memory, in a process of its own; null where there is no room to measure it. */
export async function measuredBandwidth(
  { runTask }: JobContext,
  threads: number,
): Promise<MemoryBandwidth | null> {
  return runTask('memoryBandwidth', { threads }).catch((error: unknown) => {
    // A machine without that much room is benchmarked without the bound.
    if (toErrorPayload(error).code === 'out-of-memory') return null;
    throw error;
  });
}

/** What was measured of a subject, seen against how fast the memory is. */
export function besideBandwidth<Subject extends BenchmarkSubject>(
  subject: Subject,
  bandwidth: MemoryBandwidth | null,
): Subject {
  // Of this machine's memory, which a graphics card does not read from.
  if (bandwidth === null || subject.device !== 'cpu') return subject;
  return {
    ...subject,
    memoryBandwidth: bandwidth,
    memoryBandwidthShare: bandwidthShares(subject, bandwidth),
    conditions: { ...subject.conditions, memoryBandwidth: { ...bandwidth } },
  };
}
