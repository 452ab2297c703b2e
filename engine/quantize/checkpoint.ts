import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { embeddingBitsSchema } from '../contract/common.ts';
import { DBellError } from '../contract/errors.ts';
import { syncFolder, temporarySuffix, writeFileAtomically } from '../files/atomic.ts';
import { fileError } from '../files/errors.ts';
import { makeFolders } from '../files/folders.ts';
import { canonicalJson } from '../files/json.ts';
import { recipeSchema } from './recipe.ts';

/** Version of the checkpoint's files; another one is never resumed. */
const checkpointVersion = 1;

/** Everything that decides a package's bytes. Threads, times and paths are not in it. */
export const fingerprintSchema = z.strictObject({
  /** ModelSource.fingerprint(). */
  model: z.string(),
  /** TokenWindows.fingerprint, or null for recipes that need no text. */
  calibration: z.string().nullable(),
  recipe: recipeSchema,
  embeddingBits: embeddingBitsSchema,
  seed: z.int(),
  /** Version of this program and of what computes: float engine and kernel path. */
  engine: z.string(),
});
export type QuantizationFingerprint = z.infer<typeof fingerprintSchema>;

const streamSchema = z.strictObject({ sha256: z.string() });

export const checkpointStateSchema = z.strictObject({
  version: z.literal(checkpointVersion),
  fingerprint: fingerprintSchema,
  /** Blocks whose packed tensors and hidden states are on disk. */
  blocksDone: z.int().min(0),
  /** Which of the two files of each stream holds the input of block `blocksDone`. */
  generation: z.union([z.literal(0), z.literal(1)]),
  /** Null where the recipe does not use the stream, or behind the last block. */
  floatStream: streamSchema.nullable(),
  quantizedStream: streamSchema.nullable(),
  /** Time spent by all processes up to here: only shown, never part of a package. */
  elapsedMs: z.number().min(0),
});
export type CheckpointState = z.infer<typeof checkpointStateSchema>;

export type StreamName = 'float' | 'quantized';

/** Where a work folder's state stands; without it there is nothing to resume. */
export function statePathOf(workDirectory: string): string {
  return path.join(workDirectory, 'checkpoint', 'state.json');
}

/** Folder `checkpoint` of a run's work folder: the state file and the hidden states. */
export class CheckpointFolder {
  readonly path: string;
  private readonly statePath: string;

  constructor(workDirectory: string) {
    this.path = path.join(workDirectory, 'checkpoint');
    this.statePath = statePathOf(workDirectory);
    makeFolder(this.path);
  }

  streamPath(stream: StreamName, generation: 0 | 1): string {
    return path.join(this.path, `${stream}-${generation}.f32`);
  }

  /** Removes what killed runs left: temporary names and scratch files. */
  removeLeftovers(): void {
    try {
      for (const name of readdirSync(this.path)) {
        if (name.startsWith('scratch-') || name.endsWith(temporarySuffix)) rmSync(path.join(this.path, name));
      }
    } catch (cause) {
      throw fileError(cause, 'clear what an interrupted run left', this.path);
    }
  }

  /**
   * State of an earlier run of the same job, or null where there is none.
   * @throws DBellError `invalid-checkpoint` where it is damaged or belongs to another job, saying what differs
   */
  load(fingerprint: QuantizationFingerprint): CheckpointState | null {
    if (!existsSync(this.statePath)) return null;
    const state = readState(this.statePath);
    const differences = differencesOf(state.fingerprint, fingerprint);
    if (differences.length > 0) {
      throw new DBellError(
        'invalid-checkpoint',
        `the checkpoint in ${path.dirname(this.path)} belongs to another job: ${differences.join('; ')}; ` +
          'delete that folder to start anew, or repeat the settings it was started with',
      );
    }
    return state;
  }

  save(state: Omit<CheckpointState, 'version'>): CheckpointState {
    const complete: CheckpointState = { version: checkpointVersion, ...state };
    writeFileAtomically(this.statePath, canonicalJson(complete));
    return complete;
  }
}

function readState(statePath: string): CheckpointState {
  const problem = (what: string, cause?: unknown): DBellError =>
    new DBellError(
      'invalid-checkpoint',
      `checkpoint state ${statePath} ${what}; delete the .partial folder and start again`,
      {
        cause,
      },
    );
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(statePath, 'utf8'));
  } catch (cause) {
    throw problem('cannot be read', cause);
  }
  const version = z.object({ version: z.unknown() }).safeParse(parsed);
  if (version.success && version.data.version !== checkpointVersion) {
    throw problem(
      `has version ${String(version.data.version)}, this program writes version ${checkpointVersion}`,
    );
  }
  const state = checkpointStateSchema.safeParse(parsed);
  if (!state.success) {
    const issue = state.error.issues[0];
    throw problem(`is damaged (${issue?.path.join('.')}: ${issue?.message})`);
  }
  return state.data;
}

/** What differs between two fingerprints, in words, field by field. */
export function differencesOf(stored: QuantizationFingerprint, now: QuantizationFingerprint): string[] {
  const storedFields = flatten(stored);
  const nowFields = flatten(now);
  const names = [...new Set([...storedFields.keys(), ...nowFields.keys()])];
  return names
    .filter((name) => storedFields.get(name) !== nowFields.get(name))
    .map(
      (name) =>
        `${name} was ${storedFields.get(name) ?? 'absent'} and is now ${nowFields.get(name) ?? 'absent'}`,
    );
}

function flatten(value: unknown, prefix = ''): Map<string, string> {
  const fields = new Map<string, string>();
  if (typeof value === 'object' && value !== null) {
    for (const [key, inner] of Object.entries(value)) {
      const name = prefix === '' ? key : `${prefix}.${key}`;
      for (const [path, text] of flatten(inner, name)) fields.set(path, text);
    }
  } else {
    fields.set(prefix, String(value));
  }
  return fields;
}

/** Creates a folder and makes its name durable. */
export function makeFolder(folder: string): void {
  if (existsSync(folder)) return;
  try {
    makeFolders(folder);
  } catch (cause) {
    throw fileError(cause, 'create the folder', folder);
  }
  syncFolder(path.dirname(folder));
}
