/**
 * A hole for tests: called before every write, sync and rename of this layer; may throw what the operating system would (an error with a
 * `code` such as ENOSPC) or end the process. Nothing but tests sets it.
 */
export interface FileOperation {
  kind: 'write' | 'sync' | 'rename';
  path: string;
  /** Bytes written so far by this process through this layer. */
  totalBytes: number;
  /** Bytes of this write. */
  byteCount: number;
}

let fault: ((operation: FileOperation) => void) | null = null;
let totalBytes = 0;

/** Sets or clears the fault and starts counting bytes anew. */
export function setFileFault(next: ((operation: FileOperation) => void) | null): void {
  fault = next;
  totalBytes = 0;
}

export function beforeFileOperation(kind: FileOperation['kind'], path: string, byteCount = 0): void {
  fault?.({ kind, path, totalBytes, byteCount });
  totalBytes += byteCount;
}

let freeSpaceProbe: ((folder: string) => number) | null = null;

/** Sets or clears what is taken for the free bytes of every volume. Nothing but tests sets it. */
export function setFreeSpaceProbe(next: ((folder: string) => number) | null): void {
  freeSpaceProbe = next;
}

/** What a test says is free; null outside tests. */
export function probedFreeBytes(folder: string): number | null {
  return freeSpaceProbe === null ? null : freeSpaceProbe(folder);
}
