import type { Readable, Writable } from 'node:stream';
import type { ErrorPayload } from '../contract/error-payload.ts';
import type { ServiceEvent } from '../contract/events.ts';
import { withoutControls, withoutTerminalControls } from '../contract/plain-text.ts';
import { wrap } from './table.ts';

/** A stream that may be a terminal. */
export type TerminalStream = Writable & { isTTY?: boolean; columns?: number };

export interface Streams {
  stdin: Readable & { isTTY?: boolean };
  stdout: TerminalStream;
  stderr: TerminalStream;
  environment: NodeJS.ProcessEnv;
  /** Aborted once nobody reads standard output any more. */
  outputClosed: AbortSignal;
}

/** What `--json` and `--events` ask for. */
export interface OutputOptions {
  json?: boolean;
  events?: boolean;
}

/** What a command that needs the network allows itself. */
export interface NetworkFlags {
  network?: boolean;
  endpoint?: string;
}

/**
 * Who may write where: results go to standard output; everything else to standard error. With `--json` standard output holds one JSON object, with
 * `--events` one JSON object a line (events, then `{"type": "result"}` or `{"type": "error"}`), and nothing else ever.
 */
export class Output {
  readonly streams: Streams;
  readonly mode: 'text' | 'json' | 'events';
  /** What was streamed last did not end its line. */
  #isWithinLine = false;

  constructor(streams: Streams, options: OutputOptions) {
    this.streams = streams;
    this.mode = options.events ? 'events' : options.json ? 'json' : 'text';
  }

  /** The result of the command: as JSON, or as text for people. */
  result(value: object, text: () => string): void {
    if (this.mode === 'text') {
      const shown = withoutControls(text());
      if (shown !== '') this.streams.stdout.write(`${shown}\n`);
    } else if (this.mode === 'json') this.streams.stdout.write(`${JSON.stringify(value)}\n`);
    else this.streams.stdout.write(`${JSON.stringify({ type: 'result', result: value })}\n`);
  }

  /** A failure: its reason for people on standard error, and as the one JSON object where JSON was asked for. */
  failure(error: ErrorPayload, hint?: string): void {
    if (this.mode === 'json') this.streams.stdout.write(`${JSON.stringify({ error })}\n`);
    if (this.mode === 'events') this.streams.stdout.write(`${JSON.stringify({ type: 'error', error })}\n`);
    this.message(`dbell: ${error.message}${hint ? `\n${hint}` : ''}`);
  }

  event(event: ServiceEvent): void {
    if (this.mode === 'events') this.streams.stdout.write(`${JSON.stringify(event)}\n`);
  }

  /** Text as it is generated; a terminal does not obey what a model says, a file gets it unchanged. */
  stream(text: string): void {
    if (this.mode !== 'text') return;
    const { stdout } = this.streams;
    stdout.write(stdout.isTTY ? withoutTerminalControls(text) : text);
    if (text !== '') this.#isWithinLine = !text.endsWith('\n');
  }

  /** A line for people, beside the result; a terminal gets it broken between words, a file as it is. */
  message(line: string): void {
    const { stderr } = this.streams;
    const shown = withoutControls(line);
    const { columns } = stderr;
    const fits = !stderr.isTTY || !columns || shown.split('\n').every((part) => part.length <= columns);
    const broken = fits ? shown : shown.replaceAll(/.+/g, (part) => wrap(part, columns));
    // On a terminal both streams share the line.
    const begin = this.#isWithinLine && stderr.isTTY && this.streams.stdout.isTTY ? '\n' : '';
    this.#isWithinLine = false;
    stderr.write(`${begin}${broken}\n`);
  }

  /** Whether colours may be used on standard error (https://no-color.org). */
  get colours(): boolean {
    const { environment, stderr } = this.streams;
    return Boolean(stderr.isTTY) && !environment.NO_COLOR && environment.TERM !== 'dumb';
  }
}
