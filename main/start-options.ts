import { isIP } from 'node:net';
import { parseArgs } from 'node:util';
import { DBellError } from '../engine/contract/errors.ts';
import { didYouMean } from '../engine/contract/nearest-names.ts';

export interface StartOptions {
  /** Browser mode even where Electron could run. */
  browser: boolean;
  host: string;
  /** 0 = any free one. */
  port: number;
  /** Whether to show the address in the system's browser. */
  open: boolean;
  help: boolean;
}

export const startHelp = `Usage: npm start -- [options]

Opens DBell Studio: its own window where Electron and a display are there, else a page for the browser on this computer.

  --browser         the page for the browser in any case
  --no-open         only print the address
  --port N          port of the page (default: any free one)
  --host ADDRESS    listen on another address than 127.0.0.1: everybody who reaches it and knows the token is in, unencrypted
  --help            this text
`;

const known = {
  browser: { type: 'boolean', default: false },
  'no-open': { type: 'boolean', default: false },
  port: { type: 'string', default: '0' },
  host: { type: 'string', default: '127.0.0.1' },
  help: { type: 'boolean', default: false },
} as const;

/** What is wrong with the arguments, with the name that a mistyped one may have meant. */
function usageProblem(cause: unknown, args: readonly string[]): string {
  const { code, message } = cause as { code?: string; message?: string };
  if (code !== 'ERR_PARSE_ARGS_UNKNOWN_OPTION') return message ?? String(cause);
  const unknown = args
    .map((argument) => argument.replace(/=.*$/s, ''))
    .find((argument) => argument.startsWith('-') && !Object.hasOwn(known, argument.replace(/^-+/, '')));
  const proposal = didYouMean((unknown ?? '').replace(/^-+/, ''), Object.keys(known), '--');
  return `unknown option '${unknown}'; ${proposal || 'npm start -- --help lists the options'}`;
}

/** Throws DBellError `invalid-input`. */
export function parseStartOptions(args: string[]): StartOptions {
  let values: { [key: string]: string | boolean | undefined };
  try {
    ({ values } = parseArgs({ args, options: known }));
  } catch (cause) {
    throw new DBellError('invalid-input', usageProblem(cause, args), { cause });
  }
  const port = /^\d+$/.test(String(values.port)) ? Number(values.port) : Number.NaN;
  if (!(port <= 65535)) {
    throw new DBellError('invalid-input', `--port is ${values.port}; it must be a number from 0 to 65535`);
  }
  const host = String(values.host);
  if (isIP(host) === 0 || host === '0.0.0.0' || host === '::') {
    throw new DBellError(
      'invalid-input',
      `--host is ${host}; it must be one address of this computer, such as 192.168.1.20, since requests for any other are refused`,
    );
  }
  return {
    browser: values.browser === true,
    open: values['no-open'] !== true,
    host,
    port,
    help: values.help === true,
  };
}
