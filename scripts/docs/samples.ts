import { spawn } from 'node:child_process';
import { mkdirSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { endsWithUs } from '../children.ts';

/** Sample outputs of docs/command-line.md: found in the text, run, and written back. */

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
export const samplesFile = path.join(root, 'docs', 'command-line.md');

const indent = '    ';
const promptMark = '$ npx dbell ';
export const cutMark = '…';

/** A command that the text shows, with the lines of output below it. */
export interface Sample {
  command: string;
  output: string[];
}

/** An indented block of the text that begins with a command. */
export interface SampleBlock {
  /** First line, and the line behind the last. */
  begin: number;
  end: number;
  samples: Sample[];
}

/** All blocks that can be run; those with a keystroke in them (`^C`) cannot. */
export function sampleBlocks(markdown: string): SampleBlock[] {
  const lines = markdown.split('\n');
  const blocks: SampleBlock[] = [];
  for (let begin = 0; begin < lines.length; begin++) {
    if (!lines[begin]!.startsWith(`${indent}${promptMark}`)) continue;
    let end = begin;
    while (end < lines.length && (lines[end] === '' || lines[end]!.startsWith(indent))) end++;
    while (lines[end - 1] === '') end--;
    const samples: Sample[] = [];
    for (const line of lines.slice(begin, end).map((text) => text.slice(indent.length))) {
      if (line.startsWith(promptMark)) samples.push({ command: line.slice(promptMark.length), output: [] });
      else samples.at(-1)!.output.push(line);
    }
    for (const { output } of samples) while (output.at(-1) === '') output.pop();
    if (!samples.some(({ output }) => output.includes('^C'))) blocks.push({ begin, end, samples });
    begin = end;
  }
  return blocks;
}

/** The text with other samples in its blocks. */
export function withSamples(markdown: string, blocks: readonly SampleBlock[]): string {
  const lines = markdown.split('\n');
  for (const { begin, end, samples } of [...blocks].reverse()) {
    const shown = samples.flatMap(({ command, output }, index) => [
      ...(index === 0 ? [] : ['']),
      `${promptMark}${command}`,
      ...output,
    ]);
    lines.splice(begin, end - begin, ...shown.map((line) => (line === '' ? '' : `${indent}${line}`)));
  }
  return lines.join('\n');
}

/** What samples need that no sample before them makes. */
const preparations: Readonly<Record<string, string>> = {
  export:
    'quantize resources/dbell-stories-7m --recipe grid-2 --set columnScale=none --activation-bits 16 --calibration bundled:stories --windows 32 --context 512 --out stories-grid-2',
  quality:
    'quantize resources/dbell-stories-7m --recipe grid-4 --activation-bits 16 --calibration bundled:stories --windows 16 --context 256 --out grid-4',
  compare:
    'quantize resources/dbell-stories-7m --recipe gptq-4 --calibration bundled:stories --windows 16 --context 256 --out gptq-4',
};

/** Sizes with which the same output is had in a moment, for tests of its form. */
const smallSizes: readonly [RegExp, string][] = [
  [/--windows \d+/, '--windows 2'],
  [/--context \d+/, '--context 32'],
  [/--tokens \d+/, '--tokens 8'],
  [/--prompt-tokens \d+/, '--prompt-tokens 16'],
  [/--generate-tokens \d+/, '--generate-tokens 4'],
  [/--repetitions \d+/, '--repetitions 2'],
];

/** Lines of each part of an output that is long; the rest is cut. */
const shownLines: Readonly<Record<string, number>> = { compare: 7, recipes: 4, quality: 14, benchmark: 17 };

/**
 * Runs the commands of all blocks in `folder`, in the order of the text, as a person would from the repository's root.
 *
 * @param isSmall with sizes as small as the form of the output allows
 */
export async function runSamples(
  blocks: readonly SampleBlock[],
  folder: string,
  isSmall: boolean,
): Promise<SampleBlock[]> {
  const place = path.join(folder, 'at');
  mkdirSync(place, { recursive: true });
  symlinkSync(path.join(root, 'resources'), path.join(place, 'resources'));
  const home = path.join(folder, 'home');
  const run = async (command: string) => {
    const sized = isSmall
      ? smallSizes.reduce((text, [size, small]) => text.replace(size, small), command)
      : command;
    const output = await runDbell(sized, place, home);
    return output
      .replaceAll(`${home}/`, '~/.local/share/dbell-studio/')
      .replaceAll(`${place}/`, '')
      .replaceAll(`${root}/`, '')
      .replace(/Linux (\d+\.\d+)\S*,/, 'Linux $1,');
  };
  const prepared = new Set<string>();
  const done: SampleBlock[] = [];
  for (const block of blocks) {
    const samples: Sample[] = [];
    for (const { command } of block.samples) {
      const name = command.split(' ')[0]!;
      const preparation = preparations[name];
      if (preparation !== undefined && !prepared.has(name)) {
        prepared.add(name);
        await run(preparation);
      }
      const output = (await run(command)).trimEnd().split('\n');
      samples.push({ command, output: isSmall ? output : cut(output, shownLines[name]) });
    }
    done.push({ ...block, samples });
  }
  return done;
}

/** Each part (between empty lines) with at most `most` lines. */
function cut(lines: readonly string[], most = Number.POSITIVE_INFINITY): string[] {
  const shown: string[] = [];
  let inPart = 0;
  for (const line of lines) {
    inPart = line === '' ? 0 : inPart + 1;
    if (inPart <= most) shown.push(line);
    else if (inPart === most + 1) shown.push(cutMark);
  }
  return shown;
}

/** Standard output and error as a terminal shows them. Throws where the command fails. */
function runDbell(command: string, cwd: string, home: string): Promise<string> {
  const args = [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '');
  return new Promise((resolve, reject) => {
    const child = endsWithUs(
      spawn(process.execPath, [path.join(root, 'engine', 'cli', 'dbell.js'), ...args], {
        cwd,
        env: { ...process.env, DBELL_HOME: home, NO_COLOR: '1' },
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
    );
    let text = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
      });
    child.on('error', reject);
    child.on('close', (code) =>
      code === 0 ? resolve(text) : reject(new Error(`dbell ${command} ended with ${code}: ${text}`)),
    );
  });
}

/**
 * What stands in the first column of an output: names of figures and parts, without the numbers in them. Names of layers and ids of runs, which differ from run to
 * run, are left out.
 */
export function labelsOf({ output }: Sample): string[] {
  const labels = output.flatMap((line) => {
    const label = /^ *(\S.*?) {2,}\S/.exec(line)?.[1]?.replaceAll(/\d+/g, '#');
    return label === undefined || /[._%]|^[0-9a-f#]{1,8}$/.test(label) ? [] : [label];
  });
  return [...new Set(labels)];
}
