import type { ErrorPayload } from '../../../contract/error-payload.ts';
import type { TopLogits, TopRequest } from '../../../model/top-logits.ts';
import type { DeviceBandwidth, DeviceOptions } from '../../device.ts';
import type { GpuAdapterDescription, ListedAdapter } from '../adapters.ts';
import type { GpuPackage } from '../gpu-package.ts';

// What a work process and the window that computes for it say to each other over a message port (structured clone: numbers, texts, typed arrays). The work process
// calls; while a package goes up, the window asks for its bytes.

/** A package without its bytes. */
export type SentPackage = Omit<GpuPackage, 'read'>;

/** Of a session, as it stands after a call. */
export interface SessionState {
  position: number;
  cacheBytes: number;
  scratchBytes: number;
  kernelMs: number | null;
}

export interface WindowCalls {
  'list-adapters': { input: null; result: GpuAdapterDescription[] };
  'describe-adapters': { input: null; result: ListedAdapter[] };
  load: {
    input: { adapter: number; package: SentPackage; options: DeviceOptions };
    result: {
      model: number;
      kernelPath: string;
      tokensPerChunk: number;
      memoryBytes: Record<string, number>;
      uploadMs: number;
    };
  };
  'create-session': {
    input: { model: number; contextLength: number };
    result: { session: number; state: SessionState };
  };
  feed: {
    input: { session: number; ids: Int32Array; wantsLogits: boolean };
    result: { logits: Float32Array | null; state: SessionState };
  };
  'feed-top': {
    input: { session: number; ids: Int32Array; request: TopRequest };
    result: { top: Omit<TopLogits, 'all'>; state: SessionState };
  };
  /** All logits behind the last `feed-top`. */
  'all-logits': { input: { session: number }; result: Float32Array };
  losses: {
    input: { session: number; ids: Int32Array; targets: Int32Array };
    result: { losses: Float32Array; state: SessionState };
  };
  'chunk-logits': {
    input: { session: number; chunkRows: number; firstRow: number; count: number };
    result: Float32Array;
  };
  'measure-bandwidth': { input: { model: number }; result: DeviceBandwidth };
  reset: { input: { session: number }; result: null };
  'close-session': { input: { session: number }; result: null };
  'close-model': { input: { model: number }; result: null };
}
export type WindowCallName = keyof WindowCalls;

export type ToWindow =
  | { type: 'call'; id: number; name: string; input: unknown }
  | { type: 'bytes'; id: number; bytes: Uint8Array }
  | { type: 'no-bytes'; id: number; error: ErrorPayload };

export type FromWindow =
  | { type: 'result'; id: number; result: unknown }
  | { type: 'error'; id: number; error: ErrorPayload }
  /** `call` is the load that needs them; `id` is the window's own. */
  | { type: 'read'; call: number; id: number; offset: number; length: number };
