import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { History } from '../../engine/history/history.ts';
import { historyFile } from '../../engine/service/home.ts';
import { bundled } from '../assets.ts';
import { onlyJson, runCli, startCli } from './cli-run.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-cli-outputs-'));
afterAll(() => rmSync(folder, { recursive: true }));
const tiny = fileURLToPath(new URL('../fixtures/model/tiny/llama-plain', import.meta.url));
const home = path.join(folder, 'home');
const environment = { DBELL_HOME: home };
const at = (name: string) => path.join(folder, name);
const quantize = (out: string, ...more: string[]) =>
  runCli(['quantize', tiny, '--recipe', 'rtn-4', '--out', out, '--json', ...more], environment);

/** What the command said where it refused. */
async function refusal(
  out: string,
  ...more: string[]
): Promise<{ code: string; field?: string; message: string }> {
  const result = await quantize(out, ...more);
  expect(result.exitCode).not.toBe(0);
  return onlyJson(result).error as { code: string; field?: string; message: string };
}

describe('the work folder of an output', () => {
  test('is never a folder with files of somebody else', async () => {
    const out = at('foreign');
    mkdirSync(`${out}.partial`);
    writeFileSync(`${out}.partial/notes.txt`, 'precious');
    expect(await refusal(out)).toEqual({
      code: 'output-exists',
      field: 'output',
      message: `${out}.partial holds files but no unfinished run, so that the work folder of ${out} cannot be made; move it away or choose another output`,
    });
    expect(readFileSync(`${out}.partial/notes.txt`, 'utf8')).toBe('precious');
  });

  test('is never a link or a file', async () => {
    mkdirSync(at('target'));
    symlinkSync(at('target'), at('linked.partial'));
    expect((await refusal(at('linked'))).message).toContain('linked.partial is a link');
    expect(readdirSync(at('target'))).toEqual([]);
    writeFileSync(at('file.partial'), '');
    expect((await refusal(at('file'))).message).toContain('file.partial is a file');
  });

  test('may be what a run left that was killed before it began', async () => {
    mkdirSync(at('early.partial'));
    writeFileSync(at('early.partial/run.json.0123456789ab'), '{');
    expect((await quantize(at('early'))).exitCode).toBe(0);
    expect(existsSync(at('early.partial'))).toBe(false);
  });
});

describe('an output is refused before any work', () => {
  test('if its name marks unfinished work', async () => {
    expect((await refusal(at('x.partial'))).message).toContain('ends in .partial');
    expect(existsSync(at('x.partial'))).toBe(false);
  });

  test('if a link of its name leads nowhere', async () => {
    symlinkSync(at('nowhere'), at('dangling'));
    expect((await refusal(at('dangling'))).code).toBe('output-exists');
    expect(existsSync(at('dangling.partial'))).toBe(false);
  });

  test.runIf(process.platform === 'linux')('if no files can be kept there, for that reason', async () => {
    const { code, message } = await refusal('/proc/nope');
    expect(code).toBe('disk-error');
    expect(message).toMatch(/^\/proc: could not create nope: /);
    expect(message).not.toContain('free');
    const exported = await runCli(['history', 'export', '--out', '/proc/nope.json'], environment);
    expect(exported.stderr).toMatch(/^dbell: \/proc: could not create nope\.json: /);
  });

  test('if a part of its path is a file', async () => {
    writeFileSync(at('a-file'), 'precious');
    for (const out of [path.join(at('a-file'), 'x'), path.join(at('a-file'), 'x', 'y')])
      expect((await refusal(out)).message).toBe(
        `${at('a-file')} is a file, so that ${out} cannot be made below it; choose another place`,
      );
    const exported = await runCli(['history', 'export', '--out', path.join(at('a-file'), 'x')], environment);
    expect(exported.stderr).toContain('is a file');
    expect(readFileSync(at('a-file'), 'utf8')).toBe('precious');
  });

  test('if the name leaves no room for that of the work folder', async () => {
    const { code, message } = await refusal(at('ä'.repeat(121)));
    expect(code).toBe('invalid-input');
    expect(message).toContain('has 242 bytes; at most 239');
    expect((await quantize(at('n'.repeat(239)))).exitCode).toBe(0);
  });

  test('if what is to be measured afterwards cannot be read', async () => {
    expect((await refusal(at('measured'), '--then-perplexity', at('no.txt'))).code).toBe('not-found');
    writeFileSync(at('short.txt'), 'short');
    expect((await refusal(at('measured'), '--then-perplexity', at('short.txt'))).code).toBe('invalid-text');
    expect(existsSync(at('measured'))).toBe(false);
    expect(existsSync(at('measured.partial'))).toBe(false);
  });
});

test('a package that could not be measured stands, and its run counts as finished', async () => {
  const text = at('soon-gone.txt');
  writeFileSync(text, readFileSync(bundled.trainingText).subarray(0, 50_000));
  const own = { DBELL_HOME: at('home-unmeasured') };
  const out = at('unmeasured');
  const running = startCli(
    [
      ...['quantize', bundled.model, '--recipe', 'rtn-4', '--out', out, '--events'],
      ...['--context', '64', '--then-perplexity', text],
    ],
    own,
  );
  await running.until('"blockIndex":0');
  rmSync(text);
  const result = await running.done;
  expect(result.exitCode).toBe(1);
  expect(result.stderr).toContain(
    `${out} is complete, but was not measured as asked: text ${text} does not exist`,
  );
  expect(result.stderr).not.toContain('dbell resume');
  expect(onlyJson(await runCli(['history', 'list', '--json'], own))).toMatchObject({
    runs: [{ state: 'finished', recipe: 'rtn-4' }],
  });
});

test('a run that died while it removed its work folder is ended by resume', async () => {
  const out = at('nearly');
  const { runId } = onlyJson(await quantize(out)) as { runId: string };
  const history = new History(historyFile(home), {});
  const { settings } = history.show(runId);
  history.begin({ ...{ runId, kind: 'quantize', createdAt: '', modelPath: tiny, settings }, ...none });
  history.fail(runId, { code: 'worker-died', message: 'killed' });
  history.close();
  mkdirSync(`${out}.partial.removed/checkpoint`, { recursive: true });
  const resumed = await runCli(['resume', out, '--json'], environment);
  expect(resumed.exitCode).toBe(0);
  expect(onlyJson(resumed)).toMatchObject({ runId, package: out });
  expect(existsSync(`${out}.partial.removed`)).toBe(false);
  const again = await runCli(['resume', out], environment);
  expect(again).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('there is nothing to resume') });
});
const none = { modelFingerprint: null, packageFingerprint: null, recipe: 'rtn-4', activationBits: null };

test.skipIf(process.platform === 'win32')(
  'a pipe in the place of a file is an error, not a wait',
  async () => {
    const model = at('pipe-model');
    const ownHome = at('pipe-home');
    cpSync(tiny, model, { recursive: true });
    rmSync(path.join(model, 'config.json'));
    mkdirSync(ownHome);
    execFileSync('mkfifo', [path.join(model, 'config.json'), historyFile(ownHome)]);
    const inspected = await runCli(['inspect', model], environment);
    expect(inspected).toMatchObject({
      exitCode: 1,
      stdout: expect.stringContaining('is not a regular file'),
    });
    const listed = await runCli(['history', 'list'], { DBELL_HOME: ownHome });
    expect(listed).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('is not a regular file') });
  },
);
