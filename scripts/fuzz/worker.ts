/** One fuzz run of one reader: node worker.ts TARGET SECONDS SEED. Exit code 1 after a find. */
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { DBellError } from '../../engine/contract/errors.ts';
import { mutate, randomSource } from './mutate.ts';
import type { TargetName } from './target-names.ts';
import { prepareTarget } from './targets.ts';

/** A reader that takes longer than this for one of these small files hangs or loops over a length it should not trust. */
const slowestInputMs = 5000;
/** Resident growth for one small file beyond which a length from the file was trusted for an allocation. */
const largestGrowthBytes = 512 * 2 ** 20;

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
const [name, seconds, seed] = process.argv.slice(2) as [TargetName, string, string];
const folder = path.join(root, 'build', 'fuzz', name);
mkdirSync(folder, { recursive: true });
const target = await prepareTarget(name, folder);
const random = randomSource(Number(seed));
const started = performance.now();
let runs = 0;
let accepted = 0;
let found = 0;
const refusals = new Map<string, number>();

function keep(input: Uint8Array, reason: string): void {
  found++;
  const hash = createHash('sha256').update(input).digest('hex').slice(0, 12);
  const kept = path.join(root, 'build', 'fuzz', 'finds', `${name}-${hash}`);
  mkdirSync(path.dirname(kept), { recursive: true });
  writeFileSync(kept, input);
  console.error(`${name}: ${reason}\n   input kept as ${kept}`);
}

while (performance.now() - started < Number(seconds) * 1000 && found < 20) {
  const original = target.seeds[Math.floor(random() * target.seeds.length)]!;
  const input = mutate(original.bytes, random, original.headerBytes);
  writeFileSync(path.join(folder, 'current'), input);
  const residentBefore = process.memoryUsage.rss();
  const inputStarted = performance.now();
  try {
    await target.read(input, original);
    accepted++;
  } catch (error) {
    if (error instanceof DBellError && error.code !== 'internal') {
      refusals.set(error.code, (refusals.get(error.code) ?? 0) + 1);
    } else {
      keep(
        input,
        error instanceof Error
          ? (error.stack ?? error.message).split('\n').slice(0, 4).join('\n   ')
          : String(error),
      );
    }
  }
  if (performance.now() - inputStarted > slowestInputMs)
    keep(input, `took ${Math.round(performance.now() - inputStarted)} ms`);
  const growth = process.memoryUsage.rss() - residentBefore;
  if (growth > largestGrowthBytes) keep(input, `grew by ${Math.round(growth / 2 ** 20)} MiB`);
  runs++;
}
console.log(
  `${name}: ${runs} inputs in ${Math.round((performance.now() - started) / 1000)} s (seed ${seed}), ${accepted} accepted, refused: ${[...refusals].map(([code, count]) => `${code} ${count}`).join(', ')}; ${found} finds`,
);
process.exitCode = found > 0 ? 1 : 0;
