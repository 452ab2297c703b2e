import { createHash } from 'node:crypto';
import path from 'node:path';
import { DBellError } from '../contract/errors.ts';
import { AtomicFile, writeFileAtomically } from '../files/atomic.ts';
import { alignment } from './layout.ts';
import type { SafetensorsPlan } from './safetensors-header.ts';

/** The weight file of a package while it is written, in the order of its plan. */
export interface ModelFileWriter {
  write(bytes: Uint8Array): void;
  /** Fills up with zeros to where the plan lets a tensor end. Throws DBellError `internal` where its bytes were not those of the plan. */
  padTo(tensorName: string): void;
  /** Throws DBellError `internal` where what was written does not end where the plan lets the tensor end. */
  checkEnd(tensorName: string): void;
}

/** What config.json says of a file. */
export interface WrittenFile {
  bytes: number;
  sha256: string;
}

/** Writes a whole small file of a package. Throws DBellError `disk-full`, `disk-error`. */
export function writeListedFile(folder: string, name: string, content: Uint8Array | string): WrittenFile {
  const bytes = typeof content === 'string' ? Buffer.from(content, 'utf8') : content;
  writeFileAtomically(path.join(folder, name), bytes);
  return { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
}

/**
 * Writes a weight file: the plan's header, then what `writeTensors` writes. It appears by rename when that has ended. Throws DBellError `disk-full`, `disk-error`, and
 * `internal` where what was written is not as long as planned.
 */
export async function writeModelFile(
  filePath: string,
  plan: SafetensorsPlan,
  writeTensors: (writer: ModelFileWriter) => Promise<void>,
): Promise<WrittenFile> {
  const hash = createHash('sha256');
  const file = new AtomicFile(filePath);
  const ends = new Map(
    plan.tensors.map(({ name, offset, byteLength }) => [name, plan.header.length + offset + byteLength]),
  );
  const write = (bytes: Uint8Array) => {
    hash.update(bytes);
    file.write(bytes);
  };
  /** Bytes that are missing up to where the tensor is to end, at most `most` of them. */
  const missingTo = (tensorName: string, most: number): number => {
    const end = ends.get(tensorName);
    if (end === undefined) throw new DBellError('internal', `${tensorName} has no place in ${filePath}`);
    const missing = end - file.position;
    if (missing < 0 || missing > most)
      throw new DBellError('internal', `${tensorName} ends at byte ${file.position} instead of ${end}`);
    return missing;
  };
  const writer: ModelFileWriter = {
    write,
    padTo: (tensorName) => write(new Uint8Array(missingTo(tensorName, alignment - 1))),
    checkEnd: (tensorName) => void missingTo(tensorName, 0),
  };
  try {
    write(plan.header);
    await writeTensors(writer);
    const bytes = file.position;
    file.commit();
    return { bytes, sha256: hash.digest('hex') };
  } catch (error) {
    file.abort();
    throw error;
  }
}
