import { createHash } from 'node:crypto';
import { DBellError } from '../contract/errors.ts';
import { canonicalJson } from '../files/json.ts';
import type { LayerReport } from '../quantize/sink.ts';
import { padded, plannedTensors, valueBytesOf } from './layout.ts';
import {
  formatVersion,
  type LayerQuality,
  type PackageQuality,
  type TableQuality,
  type TensorEntry,
} from './schema.ts';

/** Bytes that an entry takes in model.safetensors, padding included. */
export function storedBytesOf(name: string, entry: TensorEntry): number {
  return plannedTensors(name, entry).reduce((sum, tensor) => sum + padded(valueBytesOf(tensor)), 0);
}

/** What is known about a table besides its size. */
export type TableReport = Omit<TableQuality, 'weights' | 'storedBytes' | 'storedBitsPerWeight'>;

/** quality.json of a fresh package. Bits are 8 · bytes on disk / weights (method.md section 5). */
export function summariseQuality(inputs: {
  configSha256: string;
  sourceFingerprint: string;
  license: string | null;
  calibration: Record<string, unknown>;
  reports: LayerReport[];
  tableReports: TableReport[];
  tensors: Record<string, TensorEntry>;
  nominalBitsPerWeight: number | null;
  parameters: number;
  modelBytes: number;
}): PackageQuality {
  const { configSha256, sourceFingerprint, license, calibration, reports, tensors, parameters, modelBytes } =
    inputs;
  const tables = inputs.tableReports.map((report): TableQuality => {
    const entry = tensors[report.name];
    if (entry === undefined || (entry.layout !== 'table' && entry.layout !== 'grid-table'))
      throw new DBellError('internal', `${report.name} is no table`);
    const weights = entry.shape[0] * entry.shape[1];
    const storedBytes = storedBytesOf(report.name, entry);
    return { ...report, weights, storedBytes, storedBitsPerWeight: (8 * storedBytes) / weights };
  });
  const reportOf = new Map(reports.map((report) => [report.name, report]));
  const layers: LayerQuality[] = [];
  for (const [name, entry] of Object.entries(tensors)) {
    if (entry.layout !== 'grid' && entry.layout !== 'structured') continue;
    const report = reportOf.get(name);
    if (report === undefined) throw new DBellError('internal', `there is no report about ${name}`);
    const weights = entry.shape[0] * entry.shape[1];
    const storedBytes = storedBytesOf(name, entry);
    layers.push({ ...report, weights, storedBytes, storedBitsPerWeight: (8 * storedBytes) / weights });
  }
  const weights = layers.reduce((sum, layer) => sum + layer.weights, 0);
  const storedBytes = layers.reduce((sum, layer) => sum + layer.storedBytes, 0);
  return sealed({
    formatVersion,
    configSha256,
    sourceFingerprint,
    license,
    calibration,
    layers,
    tables,
    linears: {
      weights,
      storedBytes,
      storedBitsPerWeight: (8 * storedBytes) / weights,
      nominalBitsPerWeight: inputs.nominalBitsPerWeight,
    },
    total: { parameters, modelBytes, storedBitsPerParameter: (8 * modelBytes) / parameters },
    perplexities: [],
  });
}

/** The hash that quality.json holds of itself: of its canonical JSON without the hash. */
export function qualitySha256(quality: Omit<PackageQuality, 'selfSha256'>): string {
  const { selfSha256: _, ...rest } = quality as PackageQuality;
  return createHash('sha256').update(canonicalJson(rest)).digest('hex');
}

export function sealed(quality: Omit<PackageQuality, 'selfSha256'>): PackageQuality {
  return { ...quality, selfSha256: qualitySha256(quality) };
}
