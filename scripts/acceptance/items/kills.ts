import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { endsWithUs } from '../../children.ts';
import { randomSource } from '../../fuzz/mutate.ts';
import { assets, dbell } from '../command.ts';
import { type Figure, holds, type Item, root } from '../harness.ts';

/** SHA-256 of every file of a package, by name. */
export function hashes(folder: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(folder)
      .sort()
      .map((name) => [
        name,
        createHash('sha256')
          .update(readFileSync(path.join(folder, name)))
          .digest('hex'),
      ]),
  );
}

/**
 * Runs `dbell` as the leader of a process group and kills the whole group (command line, service and work process) with SIGKILL after the delay.
 * True if it ended by itself before.
 */
function runAndKill(args: string[], home: string, delayMs: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const child = endsWithUs(
      spawn(process.execPath, [path.join(root, 'engine', 'cli', 'dbell.js'), ...args], {
        cwd: root,
        env: { ...process.env, DBELL_HOME: home },
        stdio: 'ignore',
        detached: true,
      }),
    );
    const timer = setTimeout(() => process.kill(-child.pid!, 'SIGKILL'), delayMs);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (signal === null && code !== 0)
        reject(new Error(`dbell ${args[0]} ended with ${code} before it was killed`));
      else resolve(signal === null);
    });
  });
}

export interface KillRun {
  id: string;
  model: string;
  calibration: string;
  recipe: string;
  windows: number;
  context: number;
  kills: number;
}

/**
 * Runs a quantization to its end through `kills` SIGKILLs at random moments, resuming after each. A run that comes to its end before is done again from the
 * start.
 */
export async function interruptedRun({
  quantize,
  out,
  home,
  kills: wanted,
  undisturbedMs,
  log,
}: {
  /** The whole command, `--out` included. */
  quantize: string[];
  out: string;
  home: string;
  kills: number;
  undisturbedMs: number;
  log(message: string): void;
}): Promise<void> {
  const random = randomSource(20_261);
  let kills = 0;
  let begun = false;
  while (kills < wanted) {
    // Starting up takes part of each try, so tries reach all stages: early kills restart, late ones catch the end.
    const delayMs = 1500 + random() * (undisturbedMs / 3);
    begun ||= existsSync(`${out}.partial`);
    const ended = await runAndKill(begun ? ['resume', out] : quantize, home, delayMs);
    if (ended) {
      log(`finished after ${kills} kills; starting the killed run again`);
      rmSync(out, { recursive: true, force: true });
      rmSync(home, { recursive: true, force: true });
      begun = false;
      continue;
    }
    kills++;
    log(`kill ${kills} after ${Math.round(delayMs)} ms`);
  }
  if (!existsSync(out)) await dbell(existsSync(`${out}.partial`) ? ['resume', out] : quantize, { home });
}

/** Kills a run at random moments, resumes each time, and compares the package with that of an undisturbed run. */
export async function killAndResume(
  run: KillRun,
  scratch: string,
  log: (message: string) => void,
): Promise<Figure[]> {
  const home = path.join(scratch, `${run.id.replace('/', '-')}-home`);
  const calm = path.join(scratch, 'packages', `${run.id.replace('/', '-')}-undisturbed`);
  const out = path.join(scratch, 'packages', `${run.id.replace('/', '-')}-killed`);
  for (const folder of [home, calm, `${calm}.partial`, out, `${out}.partial`])
    rmSync(folder, { recursive: true, force: true });
  const argumentsFor = (folder: string) => [
    'quantize',
    path.join(assets, run.model),
    '--recipe',
    run.recipe,
    '--calibration',
    path.join(assets, run.calibration),
    '--windows',
    String(run.windows),
    '--context',
    String(run.context),
    '--out',
    folder,
  ];
  const started = performance.now();
  await dbell(argumentsFor(calm), { home: `${home}-undisturbed` });
  const undisturbedMs = performance.now() - started;
  await interruptedRun({
    quantize: argumentsFor(out),
    out,
    home,
    kills: run.kills,
    undisturbedMs,
    log,
  });
  const same = JSON.stringify(hashes(calm)) === JSON.stringify(hashes(out));
  const history = (await dbell(['history', 'list'], { home })) as { runs?: unknown[] };
  return [
    { name: 'kills', measured: run.kills },
    holds('package byte-identical to the undisturbed one', same),
    holds('the history shows one run', history.runs?.length === 1),
  ];
}

export const killItems: Item[] = [
  {
    id: 'kills/smollm2',
    title:
      'Ten SIGKILLs of command line, service and work process in a run of SmolLM2 with 8 × 512 calibration tokens',
    run: ({ scratch, log }) =>
      killAndResume(
        {
          id: 'kills/smollm2',
          recipe: 'dbellquant',
          windows: 8,
          context: 512,
          kills: 10,
          model: 'models/smollm2-135m-instruct-gguf/SmolLM2-135M-Instruct.Q4_1.gguf',
          calibration: 'data/c4-sample/c4_sample.jsonl',
        },
        scratch,
        log,
      ),
  },
];
