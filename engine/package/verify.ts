import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import type { ActivationBits } from '../contract/common.ts';
import { canonicalJson } from '../files/json.ts';
import { FileSource } from '../model/byte-source.ts';
import { ProblemList, quote } from '../model/problems.ts';
import type { ModelSource } from '../model/source.ts';
import { checkChunkBytes } from './limits.ts';
import { modelCard } from './model-card.ts';
import { inspectPackage } from './open.ts';
import { locationsOf, type OpenedPackage } from './opened-package.ts';
import { qualitySha256 } from './quality.ts';
import type { PackageSource } from './types.ts';
import { compareWithSource } from './verify-against.ts';

export interface VerifyOptions {
  /** The model that the package was made from: adds the numeric check. */
  against?: ModelSource;
  /** Called between pieces of work with the share that is done, 0 … 1; may throw to stop. */
  onProgress?: (fraction: number) => void;
}

export interface VerifyReport {
  ok: boolean;
  /** Everything that is wrong; at most 100 are kept, the last then says how many more there are. */
  problems: { code: string; message: string }[];
  /** What a person should know although nothing that is computed with depends on it. */
  warnings: string[];
  checkedFiles: number;
  checkedTensors: number;
  checkedBytes: number;
  /** What the package says of itself; null where its structure does not allow reading. */
  stated: {
    recipe: string;
    activationBits: ActivationBits;
    storedBitsPerWeight: number;
    sourceFingerprint: string;
    configSha256: string;
  } | null;
}

/**
 * Checks a package: structure and values (inspectPackage), the hashes of all files, and with `against` the numbers: tables, norms, biases and tokenizer
 * files are those of the source, and the weight error of every layer, recomputed with the folded scales, is the one that quality.json states. The model card is
 * for people, who may edit it: a difference is a warning, as is whatever else lies in the folder, which nothing reads. Throws DBellError `not-found` where there is no such folder, `disk-error` where a file cannot be read.
 */
export async function verifyPackage(packagePath: string, options: VerifyOptions = {}): Promise<VerifyReport> {
  const { against, onProgress } = options;
  const report: VerifyReport = {
    ok: false,
    problems: [],
    warnings: [],
    checkedFiles: 0,
    checkedTensors: 0,
    checkedBytes: 0,
    stated: null,
  };
  const { opened, problems } = inspectPackage(packagePath);
  try {
    if (opened !== null) {
      const { quality, quantization, activationBits, storedBitsPerWeight } = opened;
      report.stated = {
        recipe: quantization.recipe.name,
        activationBits,
        storedBitsPerWeight,
        sourceFingerprint: quality.sourceFingerprint,
        configSha256: quality.configSha256,
      };
      const hashShare = against === undefined ? 1 : 0.3;
      await checkHashes(opened, problems, report, (share) => onProgress?.(share * hashShare));
      for (const linear of opened.linears.values()) report.checkedTensors += locationsOf(linear).length;
      for (const table of new Set([opened.embedding, opened.head]))
        report.checkedTensors += table.bits === 16 ? 1 : 2;
      report.checkedTensors += opened.floats.size;
      report.warnings.push(...cardWarnings(opened), ...strangerWarnings(opened));
      if (against !== undefined)
        await compareWithSource(opened, against, problems, (share) =>
          onProgress?.(hashShare + share * (1 - hashShare)),
        );
    }
  } finally {
    opened?.close();
  }
  onProgress?.(1);
  report.problems = problems.items
    .filter((problem) => problem.severity === 'error')
    .map(({ code, message }) => ({ code, message }));
  if (problems.omitted > 0)
    report.problems.push({ code: 'more', message: `${problems.omitted} more problems are not listed` });
  report.ok = problems.errorCount === 0;
  return report;
}

/** Whether README.md still is the card that follows from config.json and quality.json. */
function cardWarnings({ path: folder, quantization, quality, architecture }: OpenedPackage): string[] {
  const file = path.join(folder, 'README.md');
  const size = statSync(file, { throwIfNoEntry: false })?.size;
  if (size === undefined) return ['README.md, the model card, is missing'];
  const card = Buffer.from(modelCard({ quantization, quality, architecture }), 'utf8');
  return size === card.length && card.equals(readFileSync(file))
    ? []
    : [
        'README.md is not the model card that follows from the package: it was edited, and its figures may be wrong',
      ];
}

/** Strangers named in a warning; the rest is counted. */
const mostNamed = 5;

/** What lies in the folder and is no part of the package; hidden files, such as those of version control, are passed over. */
function strangerWarnings({ path: folder, quantization }: OpenedPackage): string[] {
  const own = new Set([...Object.keys(quantization.files), 'config.json', 'quality.json', 'README.md']);
  const strangers = readdirSync(folder)
    .filter((name) => !own.has(name) && !name.startsWith('.'))
    .sort();
  if (strangers.length === 0) return [];
  const rest = strangers.length - mostNamed;
  const named = strangers.slice(0, mostNamed).map(quote).join(', ');
  return [
    `${named}${rest > 0 ? ` and ${rest} more` : ''} in the folder: no part of the package, not read and not checked`,
  ];
}

/** What is wrong with the bytes of a package's files: those that differ from the SHA-256 that config.json and quality.json name. */
export async function hashProblems(
  source: Pick<PackageSource, 'path' | 'quantization' | 'quality'>,
): Promise<ProblemList> {
  const problems = new ProblemList();
  await checkHashes(source, problems, { checkedFiles: 0, checkedBytes: 0 }, () => {});
  return problems;
}

async function checkHashes(
  opened: Pick<PackageSource, 'path' | 'quantization' | 'quality'>,
  problems: ProblemList,
  report: Pick<VerifyReport, 'checkedFiles' | 'checkedBytes'>,
  onProgress: (share: number) => void,
): Promise<void> {
  const { files } = opened.quantization;
  const total = Object.values(files).reduce((sum, { bytes }) => sum + bytes, 0);
  for (const [name, { sha256 }] of Object.entries(files)) {
    const hash = createHash('sha256');
    const file = new FileSource(path.join(opened.path, name), name);
    try {
      const chunk = new Uint8Array(Math.min(checkChunkBytes, file.size));
      for (let position = 0; position < file.size; position += chunk.length) {
        const part = chunk.subarray(0, Math.min(chunk.length, file.size - position));
        file.readInto(position, part);
        hash.update(part);
        report.checkedBytes += part.length;
        onProgress(report.checkedBytes / total);
        await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      file.close();
    }
    report.checkedFiles += 1;
    if (hash.digest('hex') !== sha256)
      problems.error(
        'hash',
        `${quote(name)}: its bytes differ from the SHA-256 in config.json; copy the package again`,
      );
  }
  const config = readFileSync(path.join(opened.path, 'config.json'));
  const quality = readFileSync(path.join(opened.path, 'quality.json'));
  report.checkedFiles += 2;
  report.checkedBytes += config.length + quality.length;
  if (createHash('sha256').update(config).digest('hex') !== opened.quality.configSha256)
    problems.error(
      'hash',
      'config.json: its bytes differ from the SHA-256 in quality.json; copy the package again',
    );
  if (
    qualitySha256(opened.quality) !== opened.quality.selfSha256 ||
    quality.toString('utf8') !== canonicalJson(opened.quality)
  )
    problems.error(
      'hash',
      'quality.json: its content differs from the SHA-256 that it holds of itself; copy the package again',
    );
}
