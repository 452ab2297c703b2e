import type { JsonObject } from '../contract/common.ts';
import type { RunKind } from '../contract/history.ts';
import type { LayerReport, QuantizeInput } from '../contract/quantization.ts';

/** A run as it begins. */
export interface RunBeginning {
  runId: string;
  kind: RunKind;
  /** ISO 8601, UTC. */
  createdAt: string;
  modelPath: string;
  modelFingerprint: string | null;
  /** Of the package that was made or measured; null where there is none, or not yet. */
  packageFingerprint: string | null;
  recipe: string | null;
  activationBits: number | null;
  settings: JsonObject;
  /** Machine and versions; by default what the history was opened with. */
  environment?: JsonObject;
}

export interface RunFacts {
  /** By name, with the unit in the name. */
  metrics: Record<string, number>;
  /** Whole results by kind. */
  results: JsonObject;
}

export interface RunOutcome extends RunFacts {
  layers: LayerReport[];
  artifacts: { kind: string; path: string; bytes: number | null }[];
  modelFingerprint: string | null;
  packageFingerprint: string | null;
  activationBits: number | null;
}

/** A quantization that never reported its end. */
export interface UnfinishedRun {
  runId: string;
  createdAt: string;
  modelPath: string;
  input: QuantizeInput;
}
