/** Arrays of numbers are typed arrays; 64-bit integers are numbers up to 2^53 and bigint beyond. */
export type GgufNumberArray =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array;

export type GgufValue = number | bigint | boolean | string | GgufNumberArray | readonly GgufValue[];

/** Metadata of a GGUF file by key, in file order. */
export type GgufMetadata = ReadonlyMap<string, GgufValue>;
