import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';

/** A config.json larger than this is no package's; the reader has its own, lower limit. */
const maximumConfigBytes = 64 * 1024 * 1024;

/**
 * Whether a path names a packed model of ours, damaged ones included: then errors speak of a package. Everything that cannot be read is left to the
 * model reader, which says why.
 */
export function isPackage(location: string): boolean {
  const file = path.join(location, 'config.json');
  try {
    // Opening a pipe would wait for its writer for ever.
    const entry = statSync(file);
    if (!entry.isFile() || entry.size > maximumConfigBytes) return false;
    const config: unknown = JSON.parse(readFileSync(file, 'utf8'));
    const quantization = field(config, 'quantization_config');
    return field(quantization, 'quant_method') === 'dbell';
  } catch {
    return false;
  }
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}
