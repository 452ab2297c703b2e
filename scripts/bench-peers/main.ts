/** `npm run bench:peers`: our packages beside llama.cpp and onnxruntime on this machine; `--help` says what it does. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { formatDuration } from '../../engine/cli/format.ts';
import { table } from '../../engine/cli/table.ts';
import type { BenchmarkResult } from '../../engine/contract/measurement.ts';
import { findLlamaCpp, llamaCppVariable } from '../../engine/measure/peers/llama-cpp-library.ts';
import { runDbell } from '../acceptance/command.ts';
import { commit, root } from '../acceptance/harness.ts';
import { llamaCppFolder } from '../acceptance/llama-cpp.ts';
import { llamaCppWithAvx2 } from './avx2-library.ts';
import { cases, type PeerCase, quickCases } from './cases.ts';
import { coldGenerateMs, removeColdPackages } from './cold-generate.ts';
import {
  machineFacts,
  memoryRows,
  openingRows,
  peerFacts,
  performanceDocument,
  rooflineRows,
  speedRows,
} from './report.ts';
import { type CaseRun, summarise } from './results.ts';

const usage = `npm run bench:peers -- [options]

Measures packages of random weights in the shapes of TinyLlama-1.1B and
SmolLM2-135M beside llama.cpp (through node-llama-cpp, which is installed into
${path.join('build', 'bench-peers')} where it is not there) and onnxruntime, in turns, with one
thread and with all; prints tables. Every finished run is kept at once: --resume
goes on where a run was broken off. About 20 minutes on two quiet cores.

  --json          a line of JSON at the end
  --write         write docs/performance.md
  --document NAME write docs/NAME instead, performance-….md, for another machine
  --resume        take what an earlier run at this commit has measured already
  --only KEYS     of ${cases.map(({ key }) => key).join(', ')}
  --threads LIST  default: 1 and all cores
  --repetitions N default: 5
  --quick         a tiny shape, one repetition: tries the way, its numbers mean nothing
  --help          show this
`;

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
    document: { type: 'string' },
    resume: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    threads: { type: 'string' },
    repetitions: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (values.document !== undefined && !/^performance-[\w-]+\.md$/.test(values.document)) {
  process.stderr.write(`--document takes a name such as performance-avx2.md, not ${values.document}\n`);
  process.exit(2);
}
const writes = values.write || values.document !== undefined;
if (values.help) {
  process.stdout.write(usage);
  process.exit(0);
}

const scratch = path.join(root, 'build', 'bench-peers');
const home = path.join(scratch, 'home');
const statePath = path.join(scratch, values.quick ? 'quick.json' : 'runs.json');
/** The slowest case takes about two minutes on quiet cores. */
const runLimitMs = 15 * 60_000;
const wanted = values.only?.split(',');
const chosen = (values.quick ? quickCases : cases).filter(({ key }) => wanted?.includes(key) ?? true);
if (chosen.length === 0)
  throw new Error(`there is no case ${values.only}; ${cases.map(({ key }) => key).join(', ')}`);
const threadCounts = values.threads
  ? values.threads.split(',').map(Number)
  : values.quick
    ? [1]
    : [...new Set([1, os.availableParallelism()])];
const repetitions = Number(values.repetitions ?? (values.quick ? 1 : 5));
const generateTokens = values.quick ? 4 : 32;

mkdirSync(scratch, { recursive: true });
const measuredCommit = commit();
const kept: { commit: string; runs: CaseRun[] } =
  values.resume && existsSync(statePath)
    ? JSON.parse(readFileSync(statePath, 'utf8'))
    : { commit: measuredCommit, runs: [] };
if (kept.commit !== measuredCommit) Object.assign(kept, { commit: measuredCommit, runs: [] });

if (findLlamaCpp() === null && !values.quick) {
  process.stderr.write('node-llama-cpp is not installed here; installing it for this comparison\n');
  try {
    process.env[llamaCppVariable] = llamaCppFolder(scratch);
  } catch (error) {
    process.stderr.write(`it could not be installed: ${(error as Error).message}\n`);
  }
}

const runs: CaseRun[] = [];
for (const item of chosen)
  for (const threads of threadCounts) {
    const before = kept.runs.find(
      (run) => run.case.key === item.key && run.threads === threads && run.result !== null,
    );
    const run = before ?? (await measure(item, threads));
    runs.push(run);
    if (before === undefined) {
      kept.runs = [
        ...kept.runs.filter((other) => other.case.key !== item.key || other.threads !== threads),
        run,
      ];
      writeFileSync(statePath, JSON.stringify(kept));
    }
    process.stderr.write(
      `${item.title}, ${threads} threads: ${before ? 'measured before' : (run.problem ?? formatDuration(run.durationMs))}\n`,
    );
  }

removeColdPackages(scratch);

const kernels = writes && !values.quick ? await kernelTable() : null;
const plain = (rows: string[][]): string => {
  const [titles = [], ...body] = rows;
  return table(
    titles.map((title) => ({ title })),
    body,
  );
};
process.stdout.write(
  `${[plain(speedRows(runs)), peerFacts(runs).join('\n'), plain(rooflineRows(runs)), plain(memoryRows(runs)), plain(openingRows(runs))].join('\n\n')}\n`,
);
if (writes) {
  const measuredAt = new Date().toISOString().slice(0, 10);
  const folder = values.quick ? scratch : path.join(root, 'docs');
  const target = path.join(folder, values.document ?? 'performance.md');
  writeFileSync(
    target,
    performanceDocument(runs, { commit: measuredCommit, measuredAt, repetitions, generateTokens, kernels }),
  );
  // Tables are kept as the checks want every document.
  if (!values.quick)
    execFileSync('npx', ['biome', 'format', '--write', target], { cwd: root, stdio: 'ignore' });
  process.stderr.write(`wrote ${path.relative(root, target)}\n`);
}
if (values.json)
  process.stdout.write(
    `${JSON.stringify(summarise(runs, { ...machineFacts(runs), commit: measuredCommit, threads: threadCounts, quick: values.quick }))}\n`,
  );
process.exitCode = runs.every(({ problem }) => problem === null) ? 0 : 1;

/** One case: `dbell benchmark` in processes of its own. */
async function measure(item: PeerCase, threads: number): Promise<CaseRun> {
  const startedAt = performance.now();
  const environment: NodeJS.ProcessEnv = {};
  if (item.instructionSet !== undefined) {
    environment.DBELL_FORCE_ISA = item.instructionSet;
    const folder = llamaCppWithAvx2(scratch);
    if (folder !== null) environment[llamaCppVariable] = folder;
  }
  const result = await benchmark(
    [
      ...['benchmark', '--shape', item.shape, '--shape-bits', item.bits, '--peers', item.peers.join(',')],
      ...['--threads', String(threads), '--prompt-tokens', String(item.promptTokens), '--depths', '0'],
      ...['--generate-tokens', String(generateTokens), '--repetitions', String(repetitions)],
      ...['--no-remember', '--json'],
    ],
    environment,
  );
  const durationMs = performance.now() - startedAt;
  const base = { case: item, threads, durationMs, coldGenerateMs: null };
  if (typeof result === 'string') return { ...base, result: null, problem: result };
  const cold = result.synthetic
    ? await coldGenerateMs(result.synthetic, threads, environment, { scratch, home })
    : null;
  return { ...base, result, problem: null, coldGenerateMs: cold };
}

/** The result, or why there is none. */
async function benchmark(args: string[], environment: NodeJS.ProcessEnv): Promise<BenchmarkResult | string> {
  const { code, signal, stdout, stderr } = await runDbell(args, {
    home,
    env: environment,
    timeoutMs: runLimitMs,
  });
  // A peer that is missing makes the exit code 1 and is in the result.
  try {
    const parsed = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as BenchmarkResult & {
      error?: unknown;
    };
    return parsed.error === undefined ? parsed : JSON.stringify(parsed.error);
  } catch {
    return `ended with ${signal ?? code}: ${stderr.trim().split('\n').at(-1)}`;
  }
}

/** What `dbell benchmark --kernels` prints, as a block of text; null where it fails. */
async function kernelTable(): Promise<string | null> {
  const { code, stdout } = await runDbell(['benchmark', '--kernels'], { home });
  return code === 0 ? ['```', stdout.trimEnd(), '```'].join('\n') : null;
}
