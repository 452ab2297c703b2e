import { parentPort, workerData } from 'node:worker_threads';
import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja';
import { chatTemplateLimits } from './chat-template-limits.ts';

/** What the rendering thread is given and gives back. */
export interface RenderRequest {
  template: string;
  variables: Record<string, unknown>;
  maxLength: number;
}

export type RenderReply =
  | { kind: 'text'; text: string }
  | { kind: 'raised' | 'invalid-template' | 'failed' | 'too-long'; message: string };

class RaisedByTemplate extends Error {}

/** What every template may use. The library's own set of these cannot tell a raised exception from a failure. */
const globals: Record<string, unknown> = {
  true: true,
  false: false,
  none: null,
  True: true,
  False: false,
  None: null,
  range,
  raise_exception: (message: unknown) => {
    throw new RaisedByTemplate(String(message));
  },
  strftime_now: (format: unknown) => formatDate(new Date(), String(format)),
};

/** Python's range with a bound on its length. */
function range(...bounds: number[]): number[] {
  const [start, stop, step] =
    bounds.length === 1 ? [0, bounds[0] as number, 1] : [bounds[0] ?? 0, bounds[1] ?? 0, bounds[2] ?? 1];
  const length = Math.ceil((stop - start) / step);
  if (step === 0 || length > chatTemplateLimits.maxRangeLength)
    throw new Error(
      `range(${bounds.join(', ')}) has too many numbers; the limit is ${chatTemplateLimits.maxRangeLength}`,
    );
  return Array.from({ length: Math.max(length, 0) }, (_, index) => start + index * step);
}

function render({ template, variables, maxLength }: RenderRequest): RenderReply {
  let program: ReturnType<typeof parse>;
  try {
    program = parse(tokenize(template, { lstrip_blocks: true, trim_blocks: true }));
  } catch (error) {
    // The parser stumbles over a template that ends too early instead of saying so.
    const message = error instanceof TypeError ? 'it ends in the middle of a tag or block' : messageOf(error);
    return { kind: 'invalid-template', message };
  }
  try {
    const environment = new Environment();
    for (const [name, value] of Object.entries({ ...globals, ...variables })) environment.set(name, value);
    const text = String(new Interpreter(environment).run(program).value);
    if (text.length > maxLength) return { kind: 'too-long', message: `${text.length}` };
    return { kind: 'text', text };
  } catch (error) {
    return {
      kind: error instanceof RaisedByTemplate ? 'raised' : 'failed',
      message: messageOf(error),
    };
  }
}

/** The parts of strftime that templates use for a date; others stay as they are. */
function formatDate(date: Date, format: string): string {
  const months =
    'January February March April May June July August September October November December'.split(' ');
  const days = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ');
  const month = months[date.getMonth()] as string;
  const day = days[date.getDay()] as string;
  const two = (value: number) => String(value).padStart(2, '0');
  const parts: Record<string, string> = {
    '%Y': String(date.getFullYear()),
    '%m': two(date.getMonth() + 1),
    '%d': two(date.getDate()),
    '%B': month,
    '%b': month.slice(0, 3),
    '%A': day,
    '%a': day.slice(0, 3),
    '%H': two(date.getHours()),
    '%M': two(date.getMinutes()),
    '%S': two(date.getSeconds()),
    '%%': '%',
  };
  return format.replace(/%[A-Za-z%]/g, (part) => parts[part] ?? part);
}

function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).slice(0, 2000);
}

parentPort?.postMessage(render(workerData as RenderRequest));
