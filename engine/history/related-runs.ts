import { mostMeasurements } from './limits.ts';
import { summaryColumns } from './rows.ts';

/**
 * When a run `measured` is a measurement of the package `artifacts` that the run `made` made: it measured a package of that fingerprint, or, where a fingerprint is not
 * known, what lay in that place then. Indexes are named, since each row of the table is looked up so.
 */
const isMeasurement =
  "measured.kind <> 'quantize' AND measured.state = 'finished' AND measured.deletion_id IS NULL";
const isSamePackage = 'measured.package_fingerprint = made.package_fingerprint';
const wasInItsPlace = `(
  (measured.package_fingerprint IS NULL OR made.package_fingerprint IS NULL)
  AND measured.model_path = artifacts.path AND measured.created_at >= made.created_at AND NOT EXISTS (
    SELECT 1 FROM runs AS later JOIN artifacts AS other ON other.run_id = later.run_id AND other.kind = 'package'
    WHERE other.path = artifacts.path AND later.created_at > made.created_at AND later.created_at <= measured.created_at
  )
)`;
const ofItsFingerprint = `FROM runs AS made
  CROSS JOIN runs AS measured INDEXED BY runs_by_package ON ${isSamePackage} AND ${isMeasurement}`;
const ofItsPlace = `FROM runs AS made
  CROSS JOIN artifacts ON artifacts.run_id = made.run_id AND artifacts.kind = 'package'
  CROSS JOIN runs AS measured INDEXED BY runs_by_model_path ON ${wasInItsPlace} AND ${isMeasurement}`;

/** Ids, kinds and activation bits of the finished measurements of the package that a run made, newest first; its id is bound twice. */
export const measurementsSql = `
  SELECT measured.run_id, measured.kind, measured.created_at, measured.activation_bits ${ofItsFingerprint}
  WHERE made.run_id = ? AND made.kind = 'quantize' AND made.deletion_id IS NULL
  UNION
  SELECT measured.run_id, measured.kind, measured.created_at, measured.activation_bits ${ofItsPlace}
  WHERE made.run_id = ? AND made.kind = 'quantize' AND made.deletion_id IS NULL
  ORDER BY 3 DESC, 1 LIMIT ${mostMeasurements}`;

/** As `inStandingOrder`. */
const chosenFigure = (from: string) => `(
  SELECT metrics.value ${from}
  CROSS JOIN metrics ON metrics.run_id = measured.run_id AND metrics.name = ?
  LEFT JOIN metrics AS tokens ON tokens.run_id = measured.run_id AND tokens.name = 'perplexityTokens'
  WHERE made.run_id = runs.run_id
    AND coalesce(measured.activation_bits = made.activation_bits, TRUE)
  ORDER BY tokens.value DESC NULLS LAST, measured.created_at DESC, measured.run_id LIMIT 1)`;

/** A figure of a row of `runs`: its own, else that of a measurement of the package that it made. Its name is bound three times. */
export const figureSql = `coalesce(
  (SELECT value FROM metrics WHERE metrics.run_id = runs.run_id AND name = ?),
  CASE WHEN runs.kind = 'quantize' THEN coalesce(${chosenFigure(ofItsFingerprint)}, ${chosenFigure(ofItsPlace)}) END)`;

/** Summary of the quantization that made the package which the run `?` measured: of several, the one that lies where it was measured, else the newest. */
export const makerSql = `
  SELECT ${summaryColumns.replaceAll(/\w+/g, 'made.$&')} FROM runs AS measured
  JOIN artifacts ON artifacts.kind = 'package'
  JOIN runs AS made ON made.run_id = artifacts.run_id AND ${isMeasurement} AND (${isSamePackage} OR ${wasInItsPlace})
  WHERE measured.run_id = ? AND made.kind = 'quantize' AND made.state = 'finished' AND made.deletion_id IS NULL
  ORDER BY artifacts.path = measured.model_path DESC, made.created_at DESC, made.run_id LIMIT 1`;
