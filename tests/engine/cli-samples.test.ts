import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  cutMark,
  labelsOf,
  runSamples,
  type Sample,
  sampleBlocks,
  samplesFile,
  withSamples,
} from '../../scripts/docs/samples.ts';

const markdown = readFileSync(samplesFile, 'utf8');
const blocks = sampleBlocks(markdown);
const shown = blocks.flatMap(({ samples }) => samples);

test('blocks are found, and put back as they were', () => {
  expect(shown.length).toBeGreaterThan(10);
  expect(withSamples(markdown, blocks)).toBe(markdown);
  const text =
    'before\n\n    $ npx dbell a  b\n    one  1\n\n    two\n\n    $ npx dbell c\n\nafter\n    $ npx dbell d\n    ^C\n';
  const found = sampleBlocks(text);
  expect(found.map(({ samples }) => samples)).toEqual([
    [
      { command: 'a  b', output: ['one  1', '', 'two'] },
      { command: 'c', output: [] },
    ],
  ]);
  expect(withSamples(text, found)).toBe(text);
});

describe('every sample output has the names that the command prints today', () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-samples-test-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  let run: Sample[] = [];
  beforeAll(async () => {
    run = (await runSamples(blocks, folder, true)).flatMap(({ samples }) => samples);
  }, 600_000);

  test.each(shown.map((sample, index) => [sample.command, index] as const))('%s', (_, index) => {
    const documented = labelsOf(shown[index]!);
    // Notes come with calibrations as small as these.
    const printed = labelsOf(run[index]!).filter((label) => label !== 'notes');
    expect(printed).toEqual(expect.arrayContaining(documented));
    if (!shown[index]!.output.includes(cutMark)) expect(documented).toEqual(expect.arrayContaining(printed));
  });
});
