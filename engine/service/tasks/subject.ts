import path from 'node:path';
import type { ActivationBits, KeyValueCache } from '../../contract/common.ts';
import { DBellError } from '../../contract/errors.ts';
import type { JobTask } from '../../contract/jobs.ts';
import { createFloatTextModel } from '../../float/text-model.ts';
import type { Architecture } from '../../model/architecture.ts';
import { openModel } from '../../model/open.ts';
import type { TokenizerDefinition } from '../../model/source.ts';
import type { TextModel } from '../../model/text-model.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import { createTokenizer } from '../../model/tokenizer-huggingface.ts';
import { openPackage } from '../../package/open.ts';
import { slowPathWarning } from '../../runtime/cpu-device.ts';
import type { Device } from '../../runtime/device.ts';
import { resolveDevice } from '../../runtime/devices.ts';
import { createPackedTextModel } from '../../runtime/packed-text-model.ts';
import type { SubjectIdentity } from '../work-protocol.ts';
import type { TaskControl } from './control.ts';
import { isPackage } from './package-detection.ts';
import { calibrationOf } from './package-result.ts';
import { threadCount } from './threads.ts';

/** A model that is loaded and can be run: in full precision or packed. Perplexity, generation and benchmarks treat both alike. */
export interface Subject {
  /** Absolute, links resolved. */
  path: string;
  /** Of a package; null for a model in full precision. */
  recipe: string | null;
  /** Of a package that was calibrated; else null. */
  calibration: ReturnType<typeof calibrationOf>;
  model: TextModel;
  tokenizer: Tokenizer;
  tokenizerConfig: Record<string, unknown>;
  architecture: Architecture;
  chatTemplate: string | null;
  /** Of the full-precision model, for a package the one it was made from; reads all weights of a model. */
  sourceFingerprint(): Promise<string>;
  /** What the history knows it by. */
  identity(): Promise<SubjectIdentity>;
  /** Weight files of a model, model.safetensors of a package. */
  modelBytes: number;
  loadMs: number;
  /** Closes the files alone, where the model was closed already. */
  closeSource(): void;
  close(): Promise<void>;
}

interface SubjectOptions {
  threads: number;
  activationBits?: ActivationBits;
  keyValueCache?: KeyValueCache;
  /** `cpu`, `gpu`, `gpu:N` or `auto`; the CPU by default. */
  device?: string;
}

/** What models and packages have in common. */
interface SubjectSource {
  readonly path: string;
  readonly architecture: Architecture;
  readonly tokenizer: TokenizerDefinition;
  readonly chatTemplate: string | null;
  close(): void;
}

/** Opens and loads a MODEL or PACKAGE. */
export async function openSubject(
  task: JobTask,
  location: string,
  options: SubjectOptions,
  control: TaskControl,
): Promise<Subject> {
  control.progress({
    task,
    stage: 'load',
    fraction: null,
    step: null,
    item: path.basename(location),
    relativeError: null,
    remainingMs: null,
  });
  const startedAt = performance.now();
  return isPackage(location)
    ? openPackedSubject(location, options, control, startedAt)
    : openFloatSubject(location, options, control, startedAt);
}

/**
 * Opens a MODEL or PACKAGE as far as its headers and its tokenizer, and finds its device: whether work on it can begin. Nothing is loaded. Throws what
 * `openSubject` would throw for the same reason.
 */
export async function checkSubject(
  location: string,
  device = 'cpu',
  keyValueCache: KeyValueCache = 'f32',
): Promise<Architecture> {
  const isPacked = isPackage(location);
  if (!isPacked) checkFloatSettings(location, device, keyValueCache);
  const source = isPacked ? await openPackage(location, { checkValues: false }) : await openModel(location);
  try {
    const { architecture, tokenizer } = source;
    createTokenizer(tokenizer, { modelVocabularySize: architecture.vocabularySize });
    if (isPacked) checkCache((await resolveDevice(device)).device, keyValueCache);
    return architecture;
  } finally {
    source.close();
  }
}

/** A model in full precision has no kernels for another device, and no other cache. */
function checkFloatSettings(location: string, device: string, keyValueCache: KeyValueCache): void {
  if (keyValueCache !== 'f32')
    throw new DBellError(
      'invalid-input',
      `${location} is a model in full precision, whose keys and values are float32; a cache of ${keyValueCache} is for packages that dbell quantize made`,
    );
  if (device !== 'cpu' && device !== 'auto')
    throw new DBellError(
      'invalid-input',
      `${location} is a model in full precision, which runs on the CPU; --device ${device} is for packages that dbell quantize made`,
    );
}

function checkCache(device: Device, keyValueCache: KeyValueCache): void {
  if (!device.keyValueCaches.includes(keyValueCache))
    throw new DBellError(
      'invalid-input',
      `${device.name} has no cache of ${keyValueCache}; ${device.keyValueCaches.join(' and ')} are possible there, ${keyValueCache} on the CPU`,
    );
}

async function openFloatSubject(
  location: string,
  { threads, activationBits, keyValueCache = 'f32', device = 'cpu' }: SubjectOptions,
  control: TaskControl,
  startedAt: number,
): Promise<Subject> {
  checkFloatSettings(location, device, keyValueCache);
  if (device === 'auto')
    control.report({
      type: 'message',
      level: 'info',
      message: 'a model in full precision runs on the CPU; the GPU runs packages',
    });
  const source = await openModel(location);
  return closingOnError(source, async () => {
    const model = await createFloatTextModel(source, { threads: threadCount(threads), activationBits });
    return subject(source, model, {
      recipe: null,
      calibration: null,
      modelBytes: source.fileBytes,
      sourceFingerprint: () => source.fingerprint(),
      packageFingerprint: null,
      storedBitsPerWeight: null,
      startedAt,
    });
  });
}

async function openPackedSubject(
  location: string,
  { threads, activationBits, keyValueCache = 'f32', device: choice = 'cpu' }: SubjectOptions,
  control: TaskControl,
  startedAt: number,
): Promise<Subject> {
  const source = await openPackage(location, { checkValues: 'codes' });
  return closingOnError(source, async () => {
    if (activationBits !== undefined && activationBits < source.activationBits) {
      control.report({
        type: 'message',
        level: 'warning',
        message: `the package was made for activations of ${source.activationBits} bits; at ${activationBits} its quality is lower than quality.json says`,
      });
    }
    const { device, notes } = await resolveDevice(choice);
    for (const note of notes) control.report({ type: 'message', ...note });
    checkCache(device, keyValueCache);
    const options = { threads: threadCount(threads), activationBits, keyValueCache, device };
    const model = await createPackedTextModel(source, options);
    const slow = slowPathWarning(model.kernelPath);
    if (slow !== null) control.report({ type: 'message', level: 'warning', message: slow });
    return subject(source, model, {
      recipe: source.quantization.recipe.name,
      calibration: calibrationOf(source.quality.calibration),
      modelBytes: source.modelBytes,
      sourceFingerprint: async () => source.quality.sourceFingerprint,
      packageFingerprint: source.quality.configSha256,
      storedBitsPerWeight: source.storedBitsPerWeight,
      startedAt,
    });
  });
}

async function closingOnError(source: SubjectSource, load: () => Promise<Subject>): Promise<Subject> {
  try {
    return await load();
  } catch (error) {
    source.close();
    throw error;
  }
}

function subject(
  source: SubjectSource,
  model: TextModel,
  {
    startedAt,
    packageFingerprint,
    storedBitsPerWeight,
    ...facts
  }: Pick<Subject, 'recipe' | 'calibration' | 'modelBytes' | 'sourceFingerprint'> &
    Omit<SubjectIdentity, 'sourceFingerprint'> & { startedAt: number },
): Subject {
  const { architecture, tokenizer } = source;
  return {
    ...facts,
    identity: async () => ({
      sourceFingerprint: await facts.sourceFingerprint(),
      packageFingerprint,
      storedBitsPerWeight,
    }),
    path: source.path,
    model,
    tokenizer: createTokenizer(tokenizer, { modelVocabularySize: architecture.vocabularySize }),
    tokenizerConfig: tokenizer.config,
    architecture,
    chatTemplate: source.chatTemplate,
    loadMs: performance.now() - startedAt,
    closeSource: () => source.close(),
    async close() {
      await model.close();
      source.close();
    },
  };
}
