import type { NativeModelDescription, NativeRange } from '../../native/runtime.ts';

/** What a device needs of a package that was checked: plain data about it, and stretches of its file. It can cross into another process. */
export interface GpuPackage {
  path: string;
  description: NativeModelDescription;
  /** Embedding and head are one table. */
  isHeadTied: boolean;
  /** Bytes `begin` … `begin + length` of a tensor. */
  read(range: NativeRange, begin: number, length: number): Uint8Array | Promise<Uint8Array>;
}
