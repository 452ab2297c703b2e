/**
 * The acceptance harness: items with numbers beside what was asked, run one by one, each result written at once, so that a run that was
 * interrupted goes on where it stopped. Results live in docs/acceptance.json with the commit and the machine that gave them.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
const resultsPath = path.join(root, 'docs', 'acceptance.json');

/** One number that was asked for and what was measured. */
export interface Figure {
  name: string;
  measured: number | string | boolean;
  /** What was asked, in words or as a number, e.g. `16.89 ± 5%`, `≤ 2.5`. Absent: reported only. */
  asked?: string;
  pass?: boolean;
}

export interface ItemResult {
  title: string;
  status: 'passed' | 'failed';
  figures: Figure[];
  /** Why it failed where it is not a figure, e.g. the error. */
  error?: string;
  durationMs: number;
  commit: string;
  machine: string;
  finishedAt: string;
}

export interface Item {
  id: string;
  title: string;
  run(context: { scratch: string; log(message: string): void }): Promise<Figure[]>;
}

type Results = Record<string, ItemResult>;

export function readResults(): Results {
  if (!existsSync(resultsPath)) return {};
  return (JSON.parse(readFileSync(resultsPath, 'utf8')) as { items: Results }).items;
}

function writeResults(items: Results): void {
  const sorted = Object.fromEntries(Object.entries(items).sort(([a], [b]) => a.localeCompare(b)));
  const temporary = `${resultsPath}.tmp`;
  writeFileSync(temporary, `${JSON.stringify({ items: sorted }, null, 2)}\n`);
  renameSync(temporary, resultsPath);
}

export function commit(): string {
  try {
    const hash = execFileSync('git', ['rev-parse', '--short=12', 'HEAD'], {
      cwd: root,
      encoding: 'utf8',
    }).trim();
    const changed = execFileSync('git', ['status', '--porcelain', '--', 'engine'], {
      cwd: root,
      encoding: 'utf8',
    });
    return changed.trim() === '' ? hash : `${hash} + changes`;
  } catch {
    return 'unknown';
  }
}

/** CPU, cores and memory, without anything that names the computer. */
export function machine(): string {
  const cpus = os.cpus();
  const memoryGiB = Math.round(os.totalmem() / 2 ** 30);
  return `${cpus[0]?.model ?? 'unknown CPU'}, ${cpus.length} cores, ${memoryGiB} GiB, ${os.type()} ${os.arch()}`;
}

/** A figure that has to lie within `tolerance` (relative) of the reference, or below it where lower is better. */
export function within(
  name: string,
  measured: number,
  reference: number,
  tolerance: number,
  lowerIsBetter = false,
): Figure {
  const pass = lowerIsBetter
    ? measured <= reference * (1 + tolerance)
    : Math.abs(measured - reference) <= reference * tolerance;
  return {
    name,
    measured,
    asked: `${lowerIsBetter ? '≤ ' : ''}${reference} ${lowerIsBetter ? '+' : '±'} ${tolerance * 100}%`,
    pass,
  };
}

export function atMost(name: string, measured: number, limit: number): Figure {
  return { name, measured, asked: `≤ ${limit}`, pass: measured <= limit };
}

export function atLeast(name: string, measured: number, limit: number): Figure {
  return { name, measured, asked: `≥ ${limit}`, pass: measured >= limit };
}

export function holds(name: string, measured: boolean): Figure {
  return { name, measured, asked: 'true', pass: measured };
}

/**
 * Runs the items whose results are missing (or all that match with `again`), one after another.
 * Returns false if any of those run failed.
 */
export async function runItems(
  items: Item[],
  options: { only: string | null; again: boolean; list: boolean; scratch: string },
): Promise<boolean> {
  const results = readResults();
  const chosen = items.filter((item) => options.only === null || new RegExp(options.only).test(item.id));
  mkdirSync(options.scratch, { recursive: true });
  let allPassed = true;
  for (const item of chosen) {
    const known = results[item.id];
    if (options.list) {
      console.log(`${(known?.status ?? 'open').padEnd(7)} ${item.id.padEnd(44)} ${known?.commit ?? ''}`);
      continue;
    }
    if (known?.status === 'passed' && !options.again) continue;
    console.log(`\n== ${item.id}: ${item.title}`);
    const started = performance.now();
    const commitAtStart = commit();
    let figures: Figure[] = [];
    let error: string | undefined;
    try {
      figures = await item.run({ scratch: options.scratch, log: (message) => console.log(`   ${message}`) });
    } catch (thrown) {
      // Results are committed: they name files, not where they lie on this machine.
      error = (thrown instanceof Error ? thrown.message : String(thrown)).replaceAll(
        /(?:\/[^\s/:]+)+\//g,
        '…/',
      );
    }
    const passed = error === undefined && figures.every((figure) => figure.pass !== false);
    for (const figure of figures) {
      console.log(
        `   ${figure.pass === false ? 'FAILED ' : ''}${figure.name}: ${figure.measured}${figure.asked ? ` (asked: ${figure.asked})` : ''}`,
      );
    }
    if (error) console.log(`   FAILED ${error}`);
    allPassed &&= passed;
    // Another instance may have finished items meanwhile: read again before writing.
    writeResults({
      ...readResults(),
      [item.id]: {
        title: item.title,
        status: passed ? 'passed' : 'failed',
        figures,
        error,
        durationMs: Math.round(performance.now() - started),
        commit: commitAtStart,
        machine: machine(),
        finishedAt: new Date().toISOString().slice(0, 10),
      },
    });
  }
  return allPassed;
}
