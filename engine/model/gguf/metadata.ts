/** A metadata value. 64-bit integers beyond 2^53 stay bigint; arrays of numbers are typed arrays where the format allows it. */
export type GgufValue = number | bigint | boolean | string | GgufArray;

export type GgufArray =
  | readonly GgufValue[]
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array;

/** Metadata of a GGUF file by key, in file order. */
export type GgufMetadata = ReadonlyMap<string, GgufValue>;
