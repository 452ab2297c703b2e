import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { Output } from '../../engine/cli/output.ts';

const hostile = 'a\u001b]0;title\u0007\u009b2J\r\tb\n\u202eb';

function outputOf(isTTY: boolean, columns?: number) {
  const stdout = Object.assign(new PassThrough(), { isTTY });
  const stderr = Object.assign(new PassThrough(), { isTTY, columns });
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

test('what is said is broken between words where a terminal ends, and left whole in a file', () => {
  const line = 'warning: the weight file will be larger\n  than the model';
  const narrow = outputOf(true, 20);
  narrow.output.message(line);
  expect(narrow.told()).toBe('warning: the weight\nfile will be larger\n  than the model\n');
  const wide = outputOf(true, 80);
  wide.output.message(line);
  expect(wide.told()).toBe(`${line}\n`);
  const file = outputOf(false, 20);
  file.output.message(line);
  expect(file.told()).toBe(`${line}\n`);
});

test('a message beside text that is being written begins a line of its own on a terminal, and leaves files alone', () => {
  const terminal = outputOf(true, 80);
  terminal.output.stream('a fox named');
  terminal.output.message('Stopping');
  terminal.output.message('stopped');
  expect(terminal.told()).toBe('\nStopping\nstopped\n');
  terminal.output.stream('a whole line\n');
  terminal.output.message('Stopping');
  expect(terminal.told()).toBe('Stopping\n');
  const file = outputOf(false);
  file.output.stream('a fox named');
  file.output.message('Stopping');
  expect(file.told()).toBe('Stopping\n');
});
