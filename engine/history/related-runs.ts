import { mostMeasurements } from './limits.ts';
import { summaryColumns } from './rows.ts';

/** Whether the run `measured` is a measurement of the package `artifacts` that the run `made` made. */
const isOfPackage = `(
  measured.kind <> 'quantize' AND measured.state = 'finished' AND measured.deletion_id IS NULL
  AND CASE WHEN measured.package_fingerprint IS NOT NULL AND made.package_fingerprint IS NOT NULL
    THEN measured.package_fingerprint = made.package_fingerprint
    ELSE measured.model_path = artifacts.path AND measured.created_at >= made.created_at AND NOT EXISTS (
      SELECT 1 FROM runs AS later JOIN artifacts AS other ON other.run_id = later.run_id AND other.kind = 'package'
      WHERE other.path = artifacts.path AND later.created_at > made.created_at AND later.created_at <= measured.created_at
    ) END
)`;

/** Ids of the finished measurements of the package that the run `?` made, newest first. */
export const measurementsSql = `
  SELECT measured.run_id FROM runs AS made
  JOIN artifacts ON artifacts.run_id = made.run_id AND artifacts.kind = 'package'
  JOIN runs AS measured ON ${isOfPackage}
  WHERE made.run_id = ? AND made.kind = 'quantize' AND made.deletion_id IS NULL
  ORDER BY measured.created_at DESC, measured.run_id LIMIT ${mostMeasurements}`;

/** Summary of the quantization that made the package which the run `?` measured: of several, the one that lies where it was measured, else the newest. */
export const makerSql = `
  SELECT ${summaryColumns.replaceAll(/\w+/g, 'made.$&')} FROM runs AS measured
  JOIN artifacts ON artifacts.kind = 'package'
  JOIN runs AS made ON made.run_id = artifacts.run_id AND ${isOfPackage}
  WHERE measured.run_id = ? AND made.kind = 'quantize' AND made.state = 'finished' AND made.deletion_id IS NULL
  ORDER BY artifacts.path = measured.model_path DESC, made.created_at DESC, made.run_id LIMIT 1`;
