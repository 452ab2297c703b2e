import { realpathSync, statSync } from 'node:fs';
import { DBellError } from '../contract/errors.ts';
import { issueInWords } from '../contract/wording.ts';
import type { FileSource } from '../model/byte-source.ts';
import { readTokenizerFiles, tokenizerFileNames } from '../model/huggingface-tokenizer-files.ts';
import { MAX_CONFIG_BYTES } from '../model/limits.ts';
import { ModelFolder } from '../model/model-folder.ts';
import { count, ProblemList, quote } from '../model/problems.ts';
import { modelFileName } from './layout.ts';
import { maximumQualityBytes } from './limits.ts';
import { OpenedPackage, type PackageParts } from './opened-package.ts';
import { storedBytesOf } from './quality.ts';
import { type PackageQuality, packageQualitySchema, type QuantizationConfig } from './schema.ts';
import {
  describePackage,
  firstIssue,
  fitEntries,
  locateTensors,
  readQuantizationConfig,
} from './structure.ts';
import type { PackageSource } from './types.ts';
import { ValueChecker } from './values.ts';

export interface OpenPackageOptions {
  /**
   * `true`: reads every value once: finite, in range, padding zero. `false`: only config and headers are checked; then values are whatever the file
   * holds, but no read leaves the file. `'codes'`: of the values only the bytes of base-3 codes, a fraction of the file that a run reads anyway: a byte
   * above 242 means no weight, and nothing that is computed from it would show. Default `true`.
   */
  checkValues?: boolean | 'codes';
}

/**
 * Opens a packed model (docs/format.md) and checks it against a hostile or damaged file. Throws DBellError `not-found` where there is no such folder and
 * `invalid-package` with the first problem; `inspectPackage` lists all.
 */
export async function openPackage(packagePath: string, options?: OpenPackageOptions): Promise<PackageSource> {
  const { opened, problems } = inspectPackage(packagePath, options);
  const first = problems.items.find((problem) => problem.severity === 'error');
  if (first === undefined && opened !== null) return opened;
  opened?.close();
  const more = problems.errorCount - 1;
  const tail = more > 0 ? ` (and ${more} more ${more === 1 ? 'problem' : 'problems'}; verify lists all)` : '';
  throw new DBellError('invalid-package', `${packagePath}: ${first?.message ?? 'cannot be read'}${tail}`);
}

/** Like openPackage, but collects what is wrong; `opened` is null where the structure does not allow reading. The caller closes it. */
export function inspectPackage(
  packagePath: string,
  options?: OpenPackageOptions,
): { opened: OpenedPackage | null; problems: ProblemList } {
  const problems = new ProblemList();
  try {
    return inspect(packagePath, problems, options?.checkValues ?? true);
  } catch (error) {
    // The layer below calls every damaged file a model.
    if (error instanceof DBellError && error.code === 'invalid-model')
      throw new DBellError('invalid-package', `${packagePath}: ${error.message}`, { cause: error });
    throw error;
  }
}

function inspect(
  packagePath: string,
  problems: ProblemList,
  checkValues: boolean | 'codes',
): { opened: OpenedPackage | null; problems: ProblemList } {
  const parts = readParts(locate(packagePath), problems);
  if (parts === null) return { opened: null, problems };
  const opened = new OpenedPackage(parts);
  if (!checkValues) return { opened, problems };
  try {
    const checker = new ValueChecker(parts.file, problems);
    if (checkValues === 'codes') {
      for (const linear of opened.linears.values()) checker.base3Bytes(linear);
      for (const table of [opened.embedding, opened.head])
        if (table.bits === 'grid') checker.base3Bytes(table.linear);
      return { opened, problems };
    }
    for (const linear of opened.linears.values()) checker.linear(linear);
    for (const table of new Set([opened.embedding, opened.head])) checker.table(table);
    for (const location of opened.floats.values()) checker.float(location);
    return { opened, problems };
  } catch (error) {
    opened.close();
    throw error;
  }
}

function locate(packagePath: string): string {
  try {
    const real = realpathSync(packagePath);
    if (statSync(real).isDirectory()) return real;
  } catch (cause) {
    throw new DBellError('not-found', `${packagePath}: there is no such folder`, { cause });
  }
  throw new DBellError('invalid-package', `${packagePath}: a packed model is a folder`);
}

function readParts(folderPath: string, problems: ProblemList): PackageParts | null {
  const folder = new ModelFolder(folderPath, problems);
  if (!folder.exists('config.json')) {
    problems.error('file-missing', 'config.json is missing; this is not a packed model');
    return null;
  }
  const config = folder.readJson('config.json', MAX_CONFIG_BYTES, { uniqueDepth: 4 });
  if (config === null) return null;
  const quantization = readQuantizationConfig(config, problems);
  if (quantization === null) return null;
  const generationConfig = folder.readJson('generation_config.json', MAX_CONFIG_BYTES);
  const sizes = checkFiles(folder, quantization, problems);
  const quality = readQuality(folder, quantization, problems);
  const described = describePackage(config, quantization, generationConfig, problems);
  if (described === null || sizes === null || quality === null) return null;
  const { architecture, family } = described;
  const entries = fitEntries(architecture, family, quantization, problems);
  const tokenizer = readTokenizerFiles(folder, architecture.vocabularySize, problems);
  if (entries === null || tokenizer === null || problems.hasErrors) return null;
  const file: FileSource | null = folder.open(modelFileName);
  if (file === null) return null;
  try {
    const locations = locateTensors(file, entries, problems);
    if (locations !== null) {
      return {
        path: folder.path,
        file,
        packageBytes: sizes.packageBytes,
        config,
        generationConfig,
        architecture,
        quantization,
        quality,
        entries,
        locations,
        warnings: problems.items,
        ...tokenizer,
      };
    }
  } catch (error) {
    file.close();
    throw error;
  }
  file.close();
  return null;
}

/** What is read where it is there, and so must not be there unless it belongs to the package. */
const optionalFileNames = [...tokenizerFileNames, 'generation_config.json'];

/** Every file that config.json lists is there, a regular file within the folder, of the size it says; and no other that would be read. */
function checkFiles(
  folder: ModelFolder,
  quantization: QuantizationConfig,
  problems: ProblemList,
): { packageBytes: number } | null {
  const errorsBefore = problems.errorCount;
  if (!Object.hasOwn(quantization.files, modelFileName))
    problems.error('config-damaged', `config.json: quantization_config.files lacks ${modelFileName}`);
  let packageBytes = 0;
  const sizeOf = (name: string): number | null => {
    if (!folder.exists(name)) {
      problems.error('file-missing', `${name} is missing; copy the package again`);
      return null;
    }
    const real = folder.resolve(name);
    return real === null ? null : statSync(real).size;
  };
  for (const [name, { bytes }] of Object.entries(quantization.files)) {
    if (!/^[^/\\\0]{1,255}$/.test(name) || name.startsWith('..')) {
      problems.error(
        'config-damaged',
        `config.json: quantization_config.files has ${quote(name)}, which is no file name`,
      );
      continue;
    }
    const size = sizeOf(name);
    if (size === null) continue;
    packageBytes += size;
    if (size !== bytes)
      problems.error(
        'file-size',
        `${name} has ${count(size)} bytes but config.json says ${count(bytes)}; it was cut or changed, copy the package again`,
      );
  }
  for (const name of optionalFileNames)
    if (!Object.hasOwn(quantization.files, name) && folder.exists(name))
      problems.error(
        'file-unlisted',
        `${name} is there, but config.json does not list it: it came into the folder later; remove it`,
      );
  for (const name of ['config.json', 'quality.json', 'README.md'])
    if (name !== 'README.md' || folder.exists(name)) packageBytes += sizeOf(name) ?? 0;
  return problems.errorCount > errorsBefore ? null : { packageBytes };
}

/** quality.json, whose figures must be those that follow from config.json. */
function readQuality(
  folder: ModelFolder,
  quantization: QuantizationConfig,
  problems: ProblemList,
): PackageQuality | null {
  const raw = folder.readJson('quality.json', maximumQualityBytes);
  if (raw === null) return null;
  const parsed = packageQualitySchema.safeParse(raw, { error: issueInWords });
  if (!parsed.success) {
    problems.error('quality-damaged', `quality.json: ${firstIssue(parsed.error)}`);
    return null;
  }
  const quality = parsed.data;
  const layers = new Map(quality.layers.map((layer) => [layer.name, layer]));
  let linears = 0;
  let weights = 0;
  let storedBytes = 0;
  for (const [name, entry] of Object.entries(quantization.tensors)) {
    if (entry.layout !== 'grid' && entry.layout !== 'structured') continue;
    linears += 1;
    const layer = layers.get(name);
    const held = figuresOf(name, entry);
    weights += held.weights;
    storedBytes += held.storedBytes;
    const wrong = layer === undefined ? 'is missing' : wrongFigure(layer, held);
    if (wrong === null) continue;
    problems.error('quality-damaged', `quality.json: layer ${quote(name)} ${wrong}`);
    return null;
  }
  for (const table of quality.tables ?? []) {
    const entry = Object.hasOwn(quantization.tensors, table.name)
      ? quantization.tensors[table.name]
      : undefined;
    const isTable = entry?.layout === 'table' || entry?.layout === 'grid-table';
    const wrong = isTable ? wrongFigure(table, figuresOf(table.name, entry)) : null;
    if (isTable && wrong === null) continue;
    problems.error(
      'quality-damaged',
      wrong === null
        ? `quality.json: ${quote(table.name)} is no table of this package`
        : `quality.json: table ${quote(table.name)} ${wrong}`,
    );
    return null;
  }
  const wrong = wrongFigure(quality.linears, { weights, storedBytes });
  if (linears === quality.layers.length && wrong === null) return quality;
  problems.error(
    'quality-damaged',
    linears === quality.layers.length
      ? `quality.json: linears ${wrong}`
      : `quality.json has ${quality.layers.length} layers, config.json ${linears}`,
  );
  return null;
}

interface StoredFigures {
  weights: number;
  storedBytes: number;
}

function figuresOf(
  name: string,
  entry: Extract<QuantizationConfig['tensors'][string], { shape: [number, number] }>,
): StoredFigures {
  return { weights: entry.shape[0] * entry.shape[1], storedBytes: storedBytesOf(name, entry) };
}

/** Of quotients that are computed in another order of operations. */
const roundingShare = 1e-9;

/** What is wrong with stated figures, seen against those that follow from the file; null: nothing. */
function wrongFigure(
  stated: StoredFigures & { storedBitsPerWeight: number },
  held: StoredFigures,
): string | null {
  if (stated.storedBytes !== held.storedBytes)
    return `says ${count(stated.storedBytes)} stored bytes but the file holds ${count(held.storedBytes)}`;
  if (stated.weights !== held.weights)
    return `says ${count(stated.weights)} weights but has ${count(held.weights)}`;
  const bits = (8 * held.storedBytes) / held.weights;
  if (Math.abs(stated.storedBitsPerWeight - bits) > roundingShare * bits)
    return `says ${stated.storedBitsPerWeight} stored bits a weight but its bytes make ${Number(bits.toPrecision(6))}`;
  return null;
}
