export interface Seed {
  name: string;
  bytes: Uint8Array;
  /** Where most mutations go: header and a little beyond. */
  headerBytes: number;
}

export interface Target {
  seeds: Seed[];
  /** Reads the mutated bytes as completely as the product would. Throws DBellError where it refuses them. */
  read(bytes: Uint8Array, seed: Seed): Promise<void>;
}
