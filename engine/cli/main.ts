import { CommanderError } from 'commander';
import { exitCodes } from './exit-codes.ts';
import { Output, type Streams } from './output.ts';
import { createProgram } from './program.ts';

/** Runs `dbell` with these arguments and returns its exit code. */
export async function main(args: string[]): Promise<number> {
  const readerGone = new AbortController();
  const streams: Streams = {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    environment: process.env,
    outputClosed: readerGone.signal,
  };
  // A reader that closes the pipe early (head, less) is no failure of ours; work in progress is stopped by the session.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE' || readerGone.signal.aborted) {
      readerGone.abort();
      return;
    }
    process.stderr.write(`dbell: the output could not be written: ${error.message}\n`);
    process.exit(exitCodes.failure);
  });
  // Nobody is left to be told; the work goes on.
  process.stderr.on('error', () => {});
  let exitCode: number = exitCodes.success;
  const program = createProgram(streams, (code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return exitCodes.success;
    // Commander has printed its message; a reader of JSON is owed an object all the same.
    const wanted = { json: args.includes('--json'), events: args.includes('--events') };
    if (wanted.json || wanted.events) {
      const message = error.message.replace(/^error: /, '');
      new Output({ ...streams, stderr: nowhere }, wanted).failure({ code: 'invalid-input', message });
    }
    return exitCodes.wrongUsage;
  }
}

const nowhere = Object.assign(new (await import('node:stream')).PassThrough(), { isTTY: false });
nowhere.resume();
