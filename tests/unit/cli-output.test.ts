import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { Output } from '../../engine/cli/output.ts';

const hostile = 'a\u001b]0;title\u0007\u009b2J\r\tb\n\u202eb';

function outputOf(isTTY: boolean) {
  const stdout = Object.assign(new PassThrough(), { isTTY });
  const stderr = Object.assign(new PassThrough(), { isTTY });
  const stdin = new PassThrough();
  const output = new Output(
    { stdin, stdout, stderr, environment: {}, outputClosed: new AbortController().signal },
    {},
  );
  return { output, said: () => String(stdout.read() ?? ''), told: () => String(stderr.read() ?? '') };
}

test('names from files and servers are shown, not obeyed', () => {
  const { output, said, told } = outputOf(false);
  const shown = 'a\ufffd]0;title\ufffd\ufffd2J\ufffd\tb\n\ufffdb\n';
  output.result({}, () => hostile);
  expect(said()).toBe(shown);
  output.message(hostile);
  expect(told()).toBe(shown);
});

test('a terminal does not obey what a model writes; a file gets it unchanged', () => {
  const terminal = outputOf(true);
  terminal.output.stream(hostile);
  expect(terminal.said()).toBe('a\ufffd]0;title\ufffd\ufffd2J\ufffd\tb\n\u202eb');
  const file = outputOf(false);
  file.output.stream(hostile);
  expect(file.said()).toBe(hostile);
});
