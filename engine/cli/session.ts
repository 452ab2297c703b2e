import type { Client } from '../contract/client.ts';
import { toErrorPayload } from '../contract/error-payload.ts';
import type { Job, JobKind, JobResult } from '../contract/jobs.ts';
import { onLauncherGone } from '../files/launcher.ts';
import { type Connection, connect } from './connect.ts';
import { exitCodeOf, exitCodes } from './exit-codes.ts';
import { type NetworkFlags, Output, type OutputOptions, type Streams } from './output.ts';
import { ProgressDisplay } from './progress.ts';

/** Two signals within this time are one Ctrl-C: a terminal and a wrapper may both deliver it. */
const sameInterruptMs = 300;

/** What a command works with. */
export interface CommandSession {
  client: Client;
  output: Output;
  /**
   * Waits for a job's end while showing what it does. Ctrl-C stops the job, which leaves a resumable state; a second one ends the program.
   * Returns the result; throws the job's error. `onText` gets generated text.
   */
  followJob<K extends JobKind>(
    jobId: string,
    kind: K,
    onText?: (text: string) => void,
  ): Promise<JobResult<K>>;
}

/** Ends the command with an exit code after its result was printed. */
export class CommandEnd extends Error {
  readonly exitCode: number;
  constructor(exitCode: number) {
    super(`exit code ${exitCode}`);
    this.exitCode = exitCode;
  }
}

/** Runs one command from connection to exit code; every failure gets its reason printed. */
export async function runCommand(
  streams: Streams,
  options: OutputOptions & NetworkFlags,
  command: (session: CommandSession) => Promise<void>,
): Promise<number> {
  const output = new Output(streams, options);
  let connection: Connection;
  try {
    connection = connect({ allow: options.network, endpoint: options.endpoint });
  } catch (error) {
    const payload = toErrorPayload(error);
    output.failure(payload);
    return exitCodeOf(payload.code);
  }
  const display = new ProgressDisplay(output);
  let currentJob: string | null = null;
  let endedJob: Job | null = null;
  let interruptedAt = Number.NEGATIVE_INFINITY;
  let interrupted = false;
  const said = new Set<string>();

  const onSignal = () => {
    const now = performance.now();
    if (interrupted && now - interruptedAt < sameInterruptMs) return;
    interruptedAt = now;
    if (interrupted || currentJob === null) {
      display.clear();
      connection.terminate();
      process.exit(exitCodes.interrupted);
    }
    interrupted = true;
    display.clear();
    output.message('Stopping at the next safe point (Ctrl-C again ends at once) …');
    connection.client.call('jobs.stop', { jobId: currentJob }).catch(() => {});
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
  const stopWatching = onLauncherGone(onSignal);

  // Work whose events or text nobody reads is stopped as by Ctrl-C; a result that is cut off has been reached.
  const onOutputClosed = () => {
    if (interrupted || currentJob === null) return;
    interrupted = true;
    display.clear();
    output.message('Nobody reads the output any more; stopping at the next safe point …');
    connection.client.call('jobs.stop', { jobId: currentJob }).catch(() => {});
  };
  streams.outputClosed.addEventListener('abort', onOutputClosed);

  connection.client.onEvent((event) => {
    if (event.type !== 'service-message') return;
    display.clear();
    output.event(event);
    output.message(`${event.level}: ${event.message}`);
  });

  const session: CommandSession = {
    client: connection.client,
    output,
    async followJob<K extends JobKind>(jobId: string, kind: K, onText?: (text: string) => void) {
      currentJob = jobId;
      if (streams.outputClosed.aborted) onOutputClosed();
      const stopListening = connection.client.onEvent((event) => {
        if (event.type !== 'service-message') output.event(event);
        if (event.type === 'job-progress') display.show(event.progress);
        else if (event.type === 'job-text') {
          display.clear();
          onText?.(event.text);
        } else if (event.type === 'job-message') {
          display.clear();
          // A conversation is one job for each answer; what was said once holds for all of them.
          if (said.has(event.message)) return;
          said.add(event.message);
          output.message(event.level === 'warning' ? `warning: ${event.message}` : event.message);
        }
      });
      try {
        const { job } = await connection.client.call('jobs.wait', { jobId });
        endedJob = job;
        if (job.error) throw job.error;
        if (job.kind !== kind || job.result === null) throw new Error(`job ${jobId} ended without a result`);
        return job.result as JobResult<K>;
      } finally {
        stopListening();
        display.clear();
        currentJob = null;
      }
    },
  };

  try {
    await command(session);
    // Work that was complete before it saw the interrupt is a success.
    return exitCodes.success;
  } catch (error) {
    if (error instanceof CommandEnd) return error.exitCode;
    const payload = isPayload(error) ? error : toErrorPayload(error);
    output.failure(payload, resumeHint(endedJob));
    if (payload.code === 'internal' && streams.environment.DBELL_DEBUG && error instanceof Error) {
      output.message(error.stack ?? '');
    }
    return exitCodeOf(payload.code);
  } finally {
    streams.outputClosed.removeEventListener('abort', onOutputClosed);
    await connection.close();
    stopWatching();
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, onSignal);
  }
}

function isPayload(error: unknown): error is { code: Parameters<typeof exitCodeOf>[0]; message: string } {
  return typeof error === 'object' && error !== null && !(error instanceof Error) && 'code' in error;
}

function resumeHint(job: Job | null): string | undefined {
  const isKept = (job?.progress?.bytes?.done ?? 0) > 0;
  if (job?.kind === 'download' && isKept && job.error?.code !== 'damaged-download')
    return 'What was fetched is kept; the same command goes on with it.';
  return job?.resumable ? `Go on with: npx dbell resume ${quoteForShell(job.resumable.path)}` : undefined;
}

/** A path as it can be pasted into a POSIX shell. */
export function quoteForShell(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
