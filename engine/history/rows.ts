import { z } from 'zod';
import { type JsonObject, jsonObjectSchema } from '../contract/common.ts';
import { type ErrorCode, errorCodes } from '../contract/errors.ts';
import { type RunDetail, type RunSummary, runKindSchema, runStateSchema } from '../contract/history.ts';
import { withoutControls } from '../contract/plain-text.ts';

const text = z.string();
const optionalText = z.string().nullable();

/** A row of `runs`, checked as it leaves the file. */
export const runRowSchema = z.object({
  run_id: text,
  kind: runKindSchema,
  state: runStateSchema,
  created_at: text,
  ended_at: optionalText,
  model_name: text,
  model_path: text,
  model_fingerprint: optionalText,
  package_fingerprint: optionalText,
  recipe: optionalText,
  activation_bits: z.int().nullable(),
  settings: text,
  environment: text,
  results: text,
  error_code: optionalText,
  error_message: optionalText,
  note: text,
});
export type RunRow = z.infer<typeof runRowSchema>;

export const summaryColumns =
  'run_id, kind, state, created_at, ended_at, model_name, model_fingerprint, recipe, activation_bits, note';
export const summaryRowSchema = runRowSchema.pick({
  run_id: true,
  kind: true,
  state: true,
  created_at: true,
  ended_at: true,
  model_name: true,
  model_fingerprint: true,
  recipe: true,
  activation_bits: true,
  note: true,
});

export interface RunParts {
  metrics: Record<string, number>;
  tags: string[];
}

export function summaryOf(row: z.infer<typeof summaryRowSchema>, parts: RunParts): RunSummary {
  return {
    runId: row.run_id,
    kind: row.kind,
    state: row.state,
    createdAt: row.created_at,
    endedAt: row.ended_at,
    // Folders and files of others named these: they must not turn the direction of the words around them.
    modelName: withoutControls(row.model_name),
    modelFingerprint: row.model_fingerprint,
    recipe: row.recipe === null ? null : withoutControls(row.recipe),
    activationBits: row.activation_bits,
    metrics: parts.metrics,
    tags: parts.tags.map(withoutControls),
    note: withoutControls(row.note),
  };
}

export function detailOf(row: RunRow, parts: RunParts & Pick<RunDetail, 'layers' | 'artifacts'>): RunDetail {
  return {
    ...summaryOf(row, parts),
    modelPath: row.model_path,
    packageFingerprint: row.package_fingerprint,
    settings: storedObject(row.settings),
    environment: storedObject(row.environment),
    results: storedObject(row.results),
    layers: parts.layers,
    artifacts: parts.artifacts,
    error:
      row.error_code === null
        ? null
        : { code: storedErrorCode(row.error_code), message: row.error_message ?? '' },
  };
}

function storedErrorCode(code: string): ErrorCode {
  return Object.hasOwn(errorCodes, code) ? (code as ErrorCode) : 'internal';
}

function storedObject(json: string): JsonObject {
  return jsonObjectSchema.parse(JSON.parse(json));
}
